package workerprom

import (
	"context"
	"errors"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// lockTracer counts what a Locker does. It is a Tracer and no observer, since an observer is told of each resource
// by itself, and misses some when there are many: just when it matters.
type lockTracer struct {
	m    *Metrics
	next lock.Tracer // the user's, or nil
}

func (t *lockTracer) Start(ctx context.Context, op string, resources int) (context.Context, func(lock.Results, error)) {
	end := func(lock.Results, error) {}
	if t.next != nil {
		ctx, end = t.next.Start(ctx, op, resources)
	}
	began := time.Now()
	return ctx, func(rs lock.Results, err error) {
		t.m.ended(op, time.Since(began), rs, err)
		end(rs, err)
	}
}

// StartStep passes a worker's steps on; Metrics.Worker has a Tracer of its own for them.
func (t *lockTracer) StartStep(ctx context.Context, step worker.Step) (context.Context, func(worker.Step, error)) {
	return step.Start(ctx, t.next)
}

// claiming are the operations that may be granted something. TryLockAll and ForceLock are, Do only by its Hold.
var claiming = map[string]bool{
	"TryLock": true, "TryLockAll": true, "ForceLock": true, "Hold": true, "TryHold": true,
	"Jobs.Claim": true, "Jobs.Await": true, "Jobs.TryAwait": true, "Jobs.TryAwaitAll": true, "Jobs.TryAwaitSome": true,
}

// ended counts an operation of a Locker that took so long.
func (m *Metrics) ended(op string, took time.Duration, rs lock.Results, err error) {
	switch op {
	case "Do": // its error is the function's, too
		return
	case "lease":
		m.hold.Observe(took.Seconds())
		if errors.Is(err, lock.ErrLeaseLost) {
			m.losses.Inc()
		}
		return
	}
	granted, failed := 0, 0
	for i := range rs {
		if rs[i].Err == nil {
			granted++
			continue
		}
		failed++
		if !errors.Is(rs[i].Err, lock.ErrEnough) { // was not tried
			m.failed(op, rs[i].Err)
		}
	}
	if err != nil && failed == 0 {
		m.failed(op, err)
	}
	if granted > 0 && claiming[op] {
		m.grants.Add(float64(granted))
		m.wait.Observe(took.Seconds())
	}
}

// failed counts an input that did not succeed.
func (m *Metrics) failed(op string, err error) {
	if claiming[op] && !errors.Is(err, lock.ErrUnavailable) && inc(m.refusals, err) {
		return
	}
	inc(m.errors, err)
}
