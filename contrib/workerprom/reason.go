package workerprom

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A reason is a value of the label with that name. An error has the first that it is; the last, whose error is nil,
// is for all others.
type reason struct {
	name string
	err  error
}

// Why a claim was not granted. Nothing has failed.
var refusalReasons = []reason{
	{"aborted", lock.ErrAborted},
	{"too-early", lock.ErrTooEarly},
	{"done", lock.ErrJobDone},
	{"exhausted", lock.ErrJobExhausted},
	{"held", lock.ErrHeld},
}

// Why a call failed. An error may be several of them: what is known least stands first.
var errorReasons = []reason{
	{"outcome-unknown", lock.ErrOutcomeUnknown},
	{"not-replicated", lock.ErrNotReplicated},
	{"unavailable", lock.ErrUnavailable},
	{"lease-lost", lock.ErrLeaseLost},
	{"not-held", lock.ErrNotHeld},
	{"held", lock.ErrHeld},
	{"corrupt-state", lock.ErrCorruptState},
	{"shard-mismatch", lock.ErrShardMismatch},
	{"cross-slot", lock.ErrCrossSlot},
	{"invalid", lock.ErrInvalid},
	{"closed", lock.ErrClosed},
	{"timeout", context.DeadlineExceeded},
	{"canceled", context.Canceled},
	{"other", nil},
}

// What a worker's OnError is told.
var troubleReasons = []reason{
	{"panic", nil}, // any *worker.PanicError
	{"work-timeout", worker.ErrWorkTimeout},
	{"outcome-unknown", lock.ErrOutcomeUnknown},
	{"not-replicated", lock.ErrNotReplicated},
	{"unavailable", lock.ErrUnavailable},
	{"other", nil},
}

func (r reason) is(err error) bool {
	if r.name == "panic" {
		var p *worker.PanicError
		return errors.As(err, &p)
	}
	return r.err == nil || errors.Is(err, r.err)
}

// counted is a reason with its counter.
type counted struct {
	why reason
	n   prometheus.Counter
}

// count makes the counters of a vector that has the label reason.
func count(v *prometheus.CounterVec, reasons []reason) []counted {
	all := make([]counted, len(reasons))
	for i, r := range reasons {
		all[i] = counted{r, v.WithLabelValues(r.name)}
	}
	return all
}

// inc counts an error; false if it is none of the reasons.
func inc(all []counted, err error) bool {
	for _, c := range all {
		if c.why.is(err) {
			c.n.Inc()
			return true
		}
	}
	return false
}
