package worker

import (
	"context"

	"github.com/lockingworker/lockingworker/lock"
)

// StepTracer is a [lock.Tracer] that is told which job and which attempt a worker's own operations are
// about. One that is only a lock.Tracer is told of the same operations, by Start.
type StepTracer interface {
	lock.Tracer
	// StartStep is called when an operation begins. What was said of Start holds for what it returns;
	// the function is called with what is known of the operation when it has ended.
	StartStep(ctx context.Context, step Step) (context.Context, func(Step, error))
}

// Step is an operation of a worker, beside those of the Locker that it uses. Fields that are not known,
// or not yet, are zero.
type Step struct {
	// Op is one of
	//
	//	run      all of a Run. Of RunAll, one attempt at one job, from its grant until it is recorded
	//	acquire  Run or Acquire claims and waits. RunAll claims many jobs at once: lock's Jobs.TryAwaitSome
	//	work     the Func; its context is the one that the Tracer returned
	//	settle   what came of the attempt is recorded; once more for each time that this has to be repeated
	//
	// A Run is a run with acquire, work and settle in it, as often as there are attempts.
	Op      string
	Attempt Attempt  // which; of run and acquire only Job and Max are known before
	Owner   string   // under whom the worker claims
	End     lock.End // of settle: how the attempt ends
	Outcome Outcome  // of run, when it has ended; 0 where another attempt follows, too
}

// Start tells t, which may be nil, that the operation begins: by StartStep or, where it has only that,
// by Start. It is for a StepTracer that passes on to another Tracer what it is told.
func (s Step) Start(ctx context.Context, t lock.Tracer) (context.Context, func(Step, error)) {
	switch t := t.(type) {
	case nil:
		return ctx, func(Step, error) {}
	case StepTracer:
		return t.StartStep(ctx, s)
	default:
		ctx, end := t.Start(ctx, s.Op, 1)
		return ctx, func(s Step, err error) {
			end(lock.Results{{Resource: s.Attempt.Job.Key, Owner: s.Owner, Fence: s.Attempt.Fence, Err: err}}, err)
		}
	}
}

// trace begins an operation for Config.Tracer.
func (w *Worker) trace(ctx context.Context, step Step) (context.Context, func(Step, error)) {
	return step.Start(ctx, w.cfg.Tracer)
}

// step is an operation on the session's job, with nothing known of an attempt.
func (s *session) step(op string) Step {
	return Step{Op: op, Attempt: Attempt{Job: s.job, Max: s.w.cfg.MaxAttempts}, Owner: s.w.owner}
}

// step is an operation on the attempt.
func (g *Grant) step(op string) Step {
	return Step{Op: op, Attempt: g.attempt, Owner: g.s.w.owner}
}
