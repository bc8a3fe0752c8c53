package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockingworker/lockingworker/lock"
)

// How long recording an attempt's end may take: as long as its lease is kept, within these bounds.
const (
	minRelease = time.Second
	maxRelease = 30 * time.Second
)

// perform runs the work and returns what came of it, once it has returned.
func (g *Grant) perform(ctx context.Context, work Func) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // came to an end in the moment of the grant: do not begin
	}
	if lost := g.lease.Context(); lost.Err() != nil {
		return context.Cause(lost) // was over before its grant arrived
	}
	traced, end := g.s.w.trace(g.ctx, g.step("work"))
	err := guard(func() error { return work(traced, g.attempt) })
	end(g.step("work"), err)
	return err
}

// conclude settles the attempt as its work ended it. Where neither an outcome nor an error comes of it,
// the worker has to acquire again.
func (g *Grant) conclude(ctx context.Context, err error) (Outcome, error) {
	end, err := g.judge(ctx, err)
	return g.finish(ctx, g.settlement(end, err), err, nil)
}

// finish records a settlement and says what became of it. first is what came of a first try, if there was one.
func (g *Grant) finish(ctx context.Context, s lock.Settlement, cause, first error) (Outcome, error) {
	if failure := g.record(ctx, s, cause, first); failure != nil {
		return g.unsettled(ctx, s.End, cause, failure)
	}
	return g.outcome(ctx, s.End, cause)
}

// outcome is what becomes of an attempt whose end is recorded.
func (g *Grant) outcome(ctx context.Context, end lock.End, err error) (Outcome, error) {
	switch {
	case end == lock.Done:
		return Completed, nil
	case end == lock.Returned:
		return Interrupted, withCause(ctx, err)
	case g.exhausted != nil:
		return Exhausted, g.exhausted
	default:
		g.s.failure = err
		return 0, nil
	}
}

// judge says how an attempt ended whose work returned err, and why.
func (g *Grant) judge(ctx context.Context, err error) (lock.End, error) {
	g.stopClock()
	if panicked, ok := err.(*PanicError); ok {
		g.s.trouble(panicked)
		return lock.Failed, panicked // whatever ended its context: this is no orderly end
	}
	switch {
	case err == nil:
		return lock.Done, nil // also after its time limit: it is done, and the lease was kept
	case g.isTimedOut(ctx):
		return lock.Failed, timedOut(err)
	case ctx.Err() != nil:
		return lock.Returned, err
	default:
		return lock.Failed, err
	}
}

// isTimedOut reports whether the attempt's own time limit ended its context. The caller may be the work
// of another worker, and have been ended by that one's.
func (g *Grant) isTimedOut(ctx context.Context) bool {
	return errors.Is(context.Cause(g.ctx), ErrWorkTimeout) && !errors.Is(context.Cause(ctx), ErrWorkTimeout)
}

// timedOut is the error of work that returned err after its time limit.
func timedOut(err error) error {
	switch {
	case err == context.DeadlineExceeded || err == context.Canceled:
		return ErrWorkTimeout
	case errors.Is(err, ErrWorkTimeout):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrWorkTimeout, err)
	}
}

// record settles the attempt, and tries again while Redis cannot do it now: out of memory, say. Once it
// is not known whether a send was executed, only an answer can tell. A lease that was renewed meanwhile
// says that Redis is there, and only not all of the job's shard: its slot is on its way to another node.
// What is done and only not replicated yet is settled again until it is, or until ctx ends.
func (g *Grant) record(ctx context.Context, settlement lock.Settlement, cause, first error) (failure error) {
	unknown := errors.Is(first, lock.ErrOutcomeUnknown)
	once := func(release context.Context) error {
		failure = g.settle(release, settlement, cause)
		unknown = unknown || errors.Is(failure, lock.ErrOutcomeUnknown)
		if errors.Is(failure, lock.ErrUnavailable) {
			return failure
		}
		return nil
	}
	for began := time.Now(); ; {
		release, cancel := g.releaseContext(ctx)
		_ = backoff.RetryNotify(func() error { return once(release) },
			backoff.WithContext(unavailable(), release), func(err error, _ time.Duration) { g.s.trouble(err) })
		late := failure != nil && release.Err() != nil
		cancel()
		if !late || ctx.Err() != nil || !g.stored && (time.Since(began) >= maxRelease || time.Until(g.lease.Deadline()) <= 0) {
			break
		}
	}
	if unknown && errors.Is(failure, lock.ErrUnavailable) && !errors.Is(failure, lock.ErrOutcomeUnknown) {
		failure = fmt.Errorf("%w: %w", lock.ErrOutcomeUnknown, failure)
	}
	return failure
}

// unsettled is what becomes of an attempt whose end could not be recorded, for the reason failure. Its
// lease must not be renewed any more, or the worker would wait for itself.
func (g *Grant) unsettled(ctx context.Context, end lock.End, err, failure error) (Outcome, error) {
	s := g.s
	if errors.Is(failure, lock.ErrLeaseLost) {
		g.lost()
		if err != nil && !errors.Is(err, lock.ErrLeaseLost) && !errors.Is(err, context.Canceled) {
			s.trouble(fmt.Errorf("worker: attempt #%d, after its lease was lost: %w", g.attempt.Number, err))
		}
		return 0, nil
	}
	g.abandon(failure)
	report := failure
	if err != nil {
		report = fmt.Errorf("%w: %w", failure, err)
	}
	s.trouble(fmt.Errorf("worker: attempt #%d could not be recorded as %v: %w", g.attempt.Number, end, report))
	switch {
	case g.stored && ctx.Err() != nil:
		if !errors.Is(failure, lock.ErrNotReplicated) {
			failure = fmt.Errorf("%w: %w", lock.ErrNotReplicated, failure)
		}
		return Interrupted, withCause(ctx, failure)
	case errors.Is(failure, lock.ErrOutcomeUnknown):
		if end == lock.Done && g.isRecorded(ctx) {
			s.reportDone(g.attempt)
			return Completed, nil
		}
		s.pending = lock.ErrOutcomeUnknown
	case errors.Is(failure, lock.ErrUnavailable), errors.Is(failure, context.DeadlineExceeded):
		s.pending = lock.ErrUnavailable
	default:
		return 0, failure
	}
	return 0, nil // the next claim is told what is recorded
}

// isRecorded reads whether this very attempt is recorded as done.
func (g *Grant) isRecorded(ctx context.Context) bool {
	release, cancel := g.releaseContext(ctx)
	defer cancel()
	info, err := g.s.w.State(release, g.s.job)
	return err == nil && info.State == lock.JobDone && info.Fence == g.attempt.Fence
}

// releaseContext is the context of a way out. It does not end with the caller's, but it ends.
func (g *Grant) releaseContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(g.lease.Deadline()), minRelease))
}
