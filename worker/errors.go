package worker

import (
	"errors"
	"fmt"
)

// Sentinels of this package, found with errors.Is. Others that Run, Acquire and Grant return are those
// of package lock: ErrHeld, ErrLeaseLost, ErrOutcomeUnknown, ErrClosed, ErrInvalid and so on.
var (
	// ErrDone says that the job's run was done already. It is Acquire's; to Run this is success.
	ErrDone = errors.New("worker: job is done already")
	// ErrExhausted says that the job's run has no attempt left; errors.As finds an *ExhaustedError.
	ErrExhausted = errors.New("worker: job is exhausted")
	// ErrWorkTimeout is the cause with which the work's context ends after Config.WorkTimeout.
	ErrWorkTimeout = errors.New("worker: work timeout")
	// ErrSettled says that the attempt was settled before, in another way.
	ErrSettled = errors.New("worker: attempt is settled already")

	errNoCause = errors.New("worker: failed without a cause")
)

// ExhaustedError says that a job's run has no attempt left, because its last one failed, its worker
// died in it, or a failure was permanent. It is ErrExhausted.
type ExhaustedError struct {
	Job      Job
	Attempts int    // how many attempts were counted
	Cause    string // why the last attempt failed, as recorded: at most lock.MaxCause bytes; "" if its worker died
	Err      error  // what the work returned, where the last attempt was this call's own; otherwise nil
}

// Error names the job, the attempt that was the last, and the recorded cause.
func (e *ExhaustedError) Error() string {
	text := fmt.Sprintf("%v: %v at attempt #%d", ErrExhausted, e.Job, e.Attempts)
	if e.Cause != "" {
		text += ": " + e.Cause
	}
	return text
}

// Is reports whether target is ErrExhausted.
func (e *ExhaustedError) Is(target error) bool { return target == ErrExhausted }

// Unwrap returns Err.
func (e *ExhaustedError) Unwrap() error { return e.Err }
