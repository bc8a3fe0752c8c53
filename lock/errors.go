package lock

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels of this package. They are found with errors.Is, also inside a
// *BatchError and beside the error of a context.
var (
	// ErrHeld says that another has the resource, or that it is offered to a waiter.
	ErrHeld = errors.New("lock: held by another")
	// ErrNotHeld says that nobody has the resource.
	ErrNotHeld = errors.New("lock: not held")
	// ErrAborted says that this resource was free, but another of its TryLockAll was not.
	ErrAborted = errors.New("lock: set refused")
	// ErrTooEarly says that the job failed and its delay is not over.
	ErrTooEarly = errors.New("lock: too early")
	// ErrJobDone says that the job's run was done before.
	ErrJobDone = errors.New("lock: job is done")
	// ErrJobExhausted says that the job's run has used up its attempts.
	ErrJobExhausted = errors.New("lock: job is exhausted")
	// ErrEnough says that TryAwaitSome did not try this claim, since enough others were granted.
	ErrEnough = errors.New("lock: enough others were granted")
	// ErrLeaseLost says that a lease ended before its holder released it: it
	// could not be renewed in time, or Redis says that it is another's.
	ErrLeaseLost = errors.New("lock: lease lost")
	// ErrReleased is the cause with which a lease's context ends after Release or Settle.
	ErrReleased = errors.New("lock: lease released")
	// ErrOutcomeUnknown says that Redis may or may not have executed the call:
	// its reply was lost and could not be found out. Read the record.
	ErrOutcomeUnknown = errors.New("lock: outcome unknown")
	// ErrUnavailable says that Redis could not be reached, or could not serve
	// the call now; the same call may succeed later.
	ErrUnavailable = errors.New("lock: redis unavailable")
	// ErrNotReplicated says that fewer than Config.Replicas replicas have acknowledged
	// a grant, a renewal or an outcome: the grant has been given back, the renewal does
	// not count, the outcome stands at the primary alone. It comes with ErrUnavailable
	// where they may do so later.
	ErrNotReplicated = errors.New("lock: not replicated")
	// ErrCorruptState says that what stands in Redis is not of this package. It was left untouched.
	ErrCorruptState = errors.New("lock: foreign or corrupt value in redis")
	// ErrShardMismatch says that the namespace was set up with another Config.Shards.
	ErrShardMismatch = errors.New("lock: namespace has another number of shards")
	// ErrCrossSlot says that the resources of a TryLockAll are in several shards.
	ErrCrossSlot = errors.New("lock: resources are in different shards")
	// ErrClosed says that the Locker was closed.
	ErrClosed = errors.New("lock: closed")
	// ErrInvalid says that an argument is not within its limits; nothing was sent.
	ErrInvalid = errors.New("lock: invalid argument")
)

// BatchError is the error of a collection call of which at least one input did
// not succeed. errors.Is and errors.As look into every failed input's error.
type BatchError struct {
	Op      string  // the call, such as "TryLock"
	Results Results // all results, in the order of the inputs
}

// Error names the call, how many inputs failed, and the first few of them.
func (e *BatchError) Error() string {
	const most = 3
	var b strings.Builder
	refused := e.Results.Refused()
	fmt.Fprintf(&b, "lock: %s: %d of %d failed", e.Op, len(refused), len(e.Results))
	for i, r := range refused {
		if i == most {
			b.WriteString("; …")
			break
		}
		fmt.Fprintf(&b, "; %q: %v", r.Resource, r.Err)
	}
	return b.String()
}

// Unwrap returns the errors of the inputs that failed, in their order.
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, r := range e.Results {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return errs
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
