package lock

import (
	"context"
	"sync"
)

// A Tracer is told of each operation when it begins and when it has ended:
// what spans need, and metrics that count everything. (Observers are told of
// what happened to resources, later, and miss some if they are slow.) It is
// called by the goroutine that does the operation, by many at the same time,
// and delays it; its panics are that goroutine's.
//
// Operations have the names of the methods: TryLock, TryLockAll, ForceLock,
// Extend, Unlock, ForceUnlock, Owners, List, Do, Hold, TryHold, Keep, Release,
// Jobs.Claim, Jobs.Await, Jobs.TryAwait, Jobs.TryAwaitAll, Jobs.TryAwaitSome, Jobs.Settle, Jobs.Get,
// Jobs.List, Jobs.Reset. Hold and Release are also part of a Do.
//
// One more is called lease: it begins when a lease begins to be kept, and ends
// with it, with the error ErrLeaseLost or ErrClosed, or none if it was released or
// settled.
type Tracer interface {
	// Start is called when an operation on so many resources begins; 0 for the
	// Lists, which do not know. The operation goes on with the context that it
	// returns, which must derive from ctx; only lease has no use for it. The
	// function, never nil, is called once, when the operation has ended: with its
	// results, as far as there are any, which it must not change or keep, and its error.
	Start(ctx context.Context, op string, resources int) (context.Context, func(Results, error))
}

// Tracer returns Config.Tracer; nil for none.
func (l *Locker) Tracer() Tracer { return l.cfg.Tracer }

// trace begins an operation for the Tracer. Without one it costs nothing: the
// functions that it and its siblings return then are not made anew.
func (l *Locker) trace(ctx context.Context, op string, resources int) (context.Context, func(Results, error)) {
	if l.cfg.Tracer == nil || ctx == nil {
		return ctx, func(Results, error) {}
	}
	return l.cfg.Tracer.Start(ctx, op, resources)
}

// traceOne begins an operation on one resource.
func (l *Locker) traceOne(ctx context.Context, op string) (context.Context, func(Result, error)) {
	if l.cfg.Tracer == nil || ctx == nil {
		return ctx, func(Result, error) {}
	}
	ctx, end := l.cfg.Tracer.Start(ctx, op, 1)
	return ctx, func(r Result, err error) {
		r.Err = err
		end(Results{r}, err)
	}
}

// traceJobs begins an operation on a collection of jobs.
func (l *Locker) traceJobs(ctx context.Context, op string, jobs int) (context.Context, func([]JobResult, error)) {
	if l.cfg.Tracer == nil || ctx == nil {
		return ctx, func([]JobResult, error) {}
	}
	ctx, end := l.cfg.Tracer.Start(ctx, op, jobs)
	return ctx, func(rs []JobResult, err error) { end(grantsOfJobs(rs), err) }
}

// traceLease begins the operation that a lease is. It ends with the first call of cancel.
func (l *Locker) traceLease(ctx context.Context, le *Lease) {
	if l.cfg.Tracer == nil {
		return
	}
	_, end := l.traceOne(ctx, "lease")
	var once sync.Once
	cancel := le.cancel
	le.cancel = func(cause error) {
		cancel(cause)
		once.Do(func() {
			if cause == ErrReleased { //nolint:errorlint // the keeper's own word
				cause = nil
			}
			end(Result{Resource: le.resource, Owner: le.owner, Fence: le.fence}, cause)
		})
	}
}
