package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// Grant is an attempt that waits to be settled, by Done, Fail or GiveBack. Its methods may be called
// from several goroutines, and from handlers; it is settled once. To settle it again in the same way
// does nothing and returns nil; in another way, ErrSettled. Once the lease is lost, nothing can be
// settled any more: lock.ErrLeaseLost.
//
// Where a settlement ends with another error it may be called again. lock.ErrOutcomeUnknown says that
// the context ended before it was known whether it was recorded; Worker.State tells later.
// lock.ErrNotReplicated says that it is recorded, but by fewer than lock.Config.Replicas replicas so far.
type Grant struct {
	s       *session
	attempt Attempt
	lease   lease

	ctx     context.Context // the work's
	cancel  context.CancelCauseFunc
	clock   *time.Timer // ends the renewal of work that ignores its time limit; nil where it has none
	lost    func()      // tells OnLost, once
	unwatch func() bool // the lease's end is not looked at any more

	turn      chan struct{}   // who has put something in may settle
	end       lock.End        // how it was settled; 0 while it is not
	unsure    bool            // a settlement may have been executed: its answer was lost
	stored    bool            // done is recorded, but too few replicas have acknowledged it
	exhausted *ExhaustedError // where its failure left no attempt
}

func newGrant(s *session, work context.Context, l lease, a Attempt) *Grant {
	g := &Grant{s: s, attempt: a, lease: l, turn: make(chan struct{}, 1)}
	g.lost = sync.OnceFunc(func() { s.reportLost(a) })
	g.ctx, g.cancel = context.WithCancelCause(work)
	if limit := s.w.cfg.WorkTimeout; limit > 0 {
		limited, stop := context.WithTimeoutCause(g.ctx, limit, ErrWorkTimeout)
		context.AfterFunc(g.ctx, stop)
		g.ctx = limited
		g.clock = time.AfterFunc(limit+s.w.cfg.TTL, g.lapse)
	}
	g.unwatch = context.AfterFunc(l.Context(), g.leaseEnded)
	if l.Context().Err() != nil { // was over before its grant arrived: nobody is to begin with it
		g.leaseEnded()
	}
	return g
}

// Attempt returns which attempt this is.
func (g *Grant) Attempt() Attempt { return g.attempt }

// Context returns the context for the work. It has the values of Acquire's, but not its end. It ends
// when the lease is lost (cause lock.ErrLeaseLost), after Config.WorkTimeout (ErrWorkTimeout), when the
// attempt has been settled (lock.ErrReleased), or when the Locker is closed (lock.ErrClosed).
func (g *Grant) Context() context.Context { return g.ctx }

// Done records that the job's run is done, and tells everybody who waits for it. If it fails after
// what the work did has been committed elsewhere, the work will be repeated: hand the fence along.
func (g *Grant) Done(ctx context.Context) error {
	return g.settle(ctx, g.settlement(lock.Done, nil), nil)
}

// Fail records that the attempt failed, and why. Another may follow after Config.RetryDelay, unless this
// was the last or the cause is [Permanent].
func (g *Grant) Fail(ctx context.Context, cause error) error {
	if cause == nil {
		cause = errNoCause
	}
	return g.settle(ctx, g.settlement(lock.Failed, cause), cause)
}

// GiveBack hands the job over at once, and the attempt does not count: its number is given out again.
// Run does this when it is interrupted.
func (g *Grant) GiveBack(ctx context.Context) error {
	return g.settle(ctx, g.settlement(lock.Returned, nil), nil)
}

// settlement is what there is to record of an attempt that ended so; cause is why it failed.
func (g *Grant) settlement(end lock.End, cause error) lock.Settlement {
	s := lock.Settlement{End: end, Retention: g.s.w.cfg.retention(g.s.job)}
	if end == lock.Failed {
		s.End, s.Delay = g.retry(cause)
		s.Cause = causeText(cause)
	}
	return s
}

// settle ends the attempt, if that is still possible, and reports it. cause is why it failed.
func (g *Grant) settle(ctx context.Context, s lock.Settlement, cause error) error {
	if ctx == nil {
		return invalid("ctx is nil")
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if over, err := g.over(ctx, s); over {
		return err
	}
	ctx, step, ended := g.settling(ctx, s)
	err := g.lease.Settle(ctx, s)
	ended(step, err)
	return g.noted(s, cause, err)
}

// over tells whether there is nothing to send, and what becomes of the settlement then.
func (g *Grant) over(ctx context.Context, s lock.Settlement) (bool, error) {
	switch {
	case g.end == settledAs(s.End):
		return true, nil
	case g.end != 0:
		return true, ErrSettled
	case g.lease.Context().Err() != nil && !g.unsure: // if it may be settled, Redis is asked
		return true, context.Cause(g.lease.Context())
	case ctx.Err() != nil:
		return true, context.Cause(ctx)
	}
	return false, nil
}

// settledAs is the end that is remembered: to fail for good is to fail.
func settledAs(end lock.End) lock.End {
	if end == lock.Exhausted {
		return lock.Failed
	}
	return end
}

// settling begins a settlement for the Tracer.
func (g *Grant) settling(ctx context.Context, s lock.Settlement) (context.Context, Step, func(Step, error)) {
	step := g.step("settle")
	step.End = s.End
	ctx, ended := g.s.w.trace(ctx, step)
	return ctx, step, ended
}

// noted takes what came of a settlement that was sent.
func (g *Grant) noted(s lock.Settlement, cause, err error) error {
	if err != nil {
		short := errors.Is(err, lock.ErrNotReplicated)
		g.unsure = g.unsure || short || errors.Is(err, lock.ErrOutcomeUnknown)
		g.stored = g.stored || short && s.End == lock.Done
		if errors.Is(err, lock.ErrLeaseLost) {
			g.cancel(lock.ErrLeaseLost)
			g.lost()
		}
		return err
	}
	g.end = settledAs(s.End)
	g.settled(s, cause)
	return nil
}

// retry says how a failed attempt ends, and how long no other may start.
func (g *Grant) retry(cause error) (lock.End, time.Duration) {
	if isPermanent(cause) {
		return lock.Exhausted, 0
	}
	if g.attempt.Last() {
		return lock.Failed, 0
	}
	var delay time.Duration
	err := guard(func() error {
		delay = g.s.w.cfg.RetryDelay(g.attempt, cause)
		return nil
	})
	if err != nil {
		g.s.trouble(fmt.Errorf("worker: Config.RetryDelay: %w", err))
		delay = defaultRetryDelay(g.attempt, cause)
	}
	if delay == backoff.Stop {
		return lock.Exhausted, 0
	}
	return lock.Failed, min(max(delay, 0), lock.NoExpiry-1)
}

// settled reports what has been recorded.
func (g *Grant) settled(settlement lock.Settlement, cause error) {
	g.stopClock()
	s, a := g.s, g.attempt
	switch settlement.End {
	case lock.Done:
		s.reportDone(a)
	case lock.Returned:
		s.log.Info("attempt given back", a.fields()...)
	default:
		s.log.Debug("retry delay", zap.Duration("delay", settlement.Delay))
		s.reportFailed(a, cause)
		if settlement.End == lock.Exhausted || a.Last() {
			g.exhausted = &ExhaustedError{Job: s.job, Attempts: a.Number, Cause: settlement.Cause, Err: cause}
			s.reportExhausted(g.exhausted, []status.Event{{Kind: status.KindGivingUp, Attempt: a.Number}})
		}
	}
}

// leaseEnded is called when the lease has ended, in whatever way.
func (g *Grant) leaseEnded() {
	cause := context.Cause(g.lease.Context())
	g.cancel(cause)
	g.stopClock()
	if errors.Is(cause, lock.ErrLeaseLost) {
		g.lost()
	}
}

// abandon leaves an attempt to Redis of which it is not known how it ended.
func (g *Grant) abandon(cause error) {
	g.unwatch()
	g.cancel(cause)
	g.lease.Lapse()
}

// lapse leaves a lease to run out whose work ignores its time limit.
func (g *Grant) lapse() {
	g.s.trouble(fmt.Errorf("%w: attempt #%d goes on regardless, and its lease is not renewed any more",
		ErrWorkTimeout, g.attempt.Number))
	g.lease.Lapse()
}

func (g *Grant) stopClock() {
	if g.clock != nil {
		g.clock.Stop()
	}
}
