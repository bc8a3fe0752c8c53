package worker

import (
	"context"
	"strconv"

	"go.uber.org/zap"
)

// Attempt is one grant of a job's run to one worker. It was counted when it was granted, so that a
// crash counts too.
type Attempt struct {
	Job    Job
	Number int // from 1; the number of an attempt that was given back is given out again
	Max    int // Config.MaxAttempts
	// Fence is the fencing token: it grows with every grant of the job's key. Hand it to whatever the
	// work writes to, which then refuses a write with a smaller one than it has seen; so a worker that
	// lost its lease without noticing can do no harm. In SQL it is a BIGINT, in JSON a string.
	Fence int64 `json:",string"`
}

// Last reports whether no attempt may follow if this one fails.
func (a Attempt) Last() bool { return a.Number >= a.Max }

// Func is the work. Returning nil means done; an error, a panic or runtime.Goexit means that the
// attempt failed and another may follow; [Permanent] that none may.
//
// The context ends when the lease is lost (cause lock.ErrLeaseLost), after Config.WorkTimeout (cause
// ErrWorkTimeout), when the caller of Run cancels (its cause), or when the Locker is closed (cause
// lock.ErrClosed). Work that goes on regardless may run beside its successor.
type Func func(ctx context.Context, a Attempt) error

// fields are the names under which an attempt is logged. A fence is larger than the integers that JSON
// readers keep exactly.
func (a Attempt) fields() []zap.Field {
	return []zap.Field{zap.Int("attempt", a.Number), zap.String("fence", strconv.FormatInt(a.Fence, 10))}
}
