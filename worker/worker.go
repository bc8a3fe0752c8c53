package worker

import (
	"context"
	"errors"

	"github.com/lockingworker/lockingworker/lock"
)

// Worker does jobs with other workers, one of them each. Its methods may be called from several
// goroutines at once.
type Worker struct {
	cfg   Config
	jobs  jobs
	owner string // under which it claims: the Locker's
}

// New makes a Worker for one kind of work; any number of them share a Locker. It sends nothing. All that
// is wrong with the Config is joined into one error, which is lock.ErrInvalid.
func New(l *lock.Locker, cfg Config) (*Worker, error) {
	cfg, err := cfg.complete()
	if l == nil {
		err = errors.Join(invalid("Locker is nil"), err)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Tracer == nil {
		cfg.Tracer = l.Tracer()
	}
	return &Worker{cfg: cfg, jobs: lockJobs{l.Jobs()}, owner: l.Owner()}, nil
}

// Run has the job done: by this worker, or by another one that is at it or was before. It waits for the
// job's lock, works, and records what came of it; after a failure, its own or another's, it tries again
// until the attempts are used up. The error is nil if and only if the job is done:
//
//	our work returned nil, recorded                   Completed           nil
//	done by another, or before                        CompletedElsewhere  nil
//	held, and Config.MaxWait is over                  HeldElsewhere       lock.ErrHeld
//	no attempt left, or Permanent, here or elsewhere  Exhausted           *ExhaustedError
//	ctx ended                                         Interrupted         its cause
//	Redis will not: password, rights, foreign data,   0                   that error
//	another number of shards, Locker closed, or bad arguments
//
// Where Redis cannot be reached, or too few replicas acknowledge (lock.Config.Replicas), Run goes on
// trying, and tells OnError each time, until ctx ends.
//
// Run returns only after the work has returned, and after its handlers have finished. When ctx ends, so
// does the work's context; work that then returns an error gives its attempt back, uncounted, for
// another worker to start at once; work that returns nil all the same is done.
func (w *Worker) Run(ctx context.Context, job Job, work Func) (Outcome, error) {
	err := check(ctx, job)
	if work == nil {
		err = errors.Join(err, invalid("work is nil"))
	}
	if err != nil {
		return 0, err
	}
	s := w.begin(job, newCaller())
	defer s.caller.close()
	step := s.step("run")
	ctx, end := w.trace(ctx, step)
	for {
		grant, outcome, err := s.acquire(ctx, ctx)
		if grant != nil {
			outcome, err = grant.conclude(ctx, grant.perform(ctx, work))
		}
		if outcome != 0 || err != nil {
			result := s.end(outcome, err)
			if step.Outcome = outcome; s.last.Fence != 0 {
				step.Attempt = s.last
			}
			end(step, err)
			return result.Outcome, result.Err
		}
	}
}

// State reads what is known of the job's run, without counting or changing anything.
func (w *Worker) State(ctx context.Context, job Job) (lock.JobInfo, error) {
	if err := check(ctx, job); err != nil {
		return lock.JobInfo{}, err
	}
	infos, err := w.jobs.Get(ctx, job.id())
	if err != nil {
		return lock.JobInfo{}, err
	}
	return infos[0], nil
}

// Reset forgets the job's run: outcome, attempts and a permanent failure, so that it can be done again.
// While the job is held it is refused with lock.ErrHeld.
func (w *Worker) Reset(ctx context.Context, job Job) error {
	if err := check(ctx, job); err != nil {
		return err
	}
	return w.jobs.Reset(ctx, job.id())
}
