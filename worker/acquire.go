package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// errMaxWait is the cause with which a wait ends after Config.MaxWait.
var errMaxWait = errors.New("worker: MaxWait is over")

// Acquire waits for an attempt at the job, as Run does, and leaves the work and its settlement to the
// caller. The context bounds the waiting only. The attempt's lease is kept until the Grant is settled,
// Config.WorkTimeout lets it lapse, or the Locker is closed; a Grant that is forgotten keeps its job
// from everybody until the process ends.
//
// The error is ErrDone where the job's run is done already, an *ExhaustedError, lock.ErrHeld where
// another has it and Config.MaxWait is over, the context's cause, or what keeps Redis from answering
// for good, such as a wrong password. Where Redis cannot be reached, or too few replicas acknowledge,
// Acquire goes on trying. When it returns an error its handlers have finished.
func (w *Worker) Acquire(ctx context.Context, job Job) (*Grant, error) {
	if err := check(ctx, job); err != nil {
		return nil, err
	}
	s := w.begin(job, newCaller())
	grant, _, err := s.acquire(ctx, context.WithoutCancel(ctx))
	if grant != nil {
		return grant, nil
	}
	s.caller.close()
	if err == nil {
		err = fmt.Errorf("%w: %v", ErrDone, job)
	}
	return nil, err
}

// acquire waits, within ctx, until it is granted an attempt, or until it is known that there will be
// none; then the outcome says why, with an error unless the job is done. The attempt's context derives
// from work.
func (s *session) acquire(ctx, work context.Context) (*Grant, Outcome, error) {
	if ctx.Err() != nil {
		return nil, Interrupted, s.interrupted(ctx, nil)
	}
	s.again()
	traced, end := s.w.trace(ctx, s.step("acquire"))
	lease, answer, err := s.claim(traced)
	if err == nil {
		grant := s.granted(work, lease)
		end(grant.step("acquire"), nil)
		return grant, 0, nil
	}
	end(s.step("acquire"), err)
	outcome, err := s.refusal(ctx, answer, err)
	return nil, outcome, err
}

// refusal is what becomes of a claim that was not granted, and will not be.
func (s *session) refusal(ctx context.Context, answer lock.JobResult, err error) (Outcome, error) {
	switch {
	case errors.Is(err, lock.ErrJobDone):
		return s.done(answer.Job), nil
	case errors.Is(err, lock.ErrJobExhausted):
		return Exhausted, s.exhausted(answer.Job)
	case ctx.Err() != nil:
		return Interrupted, s.interrupted(ctx, err)
	case errors.Is(err, errMaxWait):
		return HeldElsewhere, s.held(err)
	default:
		s.trouble(err)
		return 0, err
	}
}

// claim asks for an attempt and waits for it as long as Config.MaxWait allows.
func (s *session) claim(ctx context.Context) (lease, lock.JobResult, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	s.wait(&patience{limit: s.w.cfg.MaxWait, giveUp: giveUp})
	defer s.wait(nil)

	claim := s.w.claim(s.job)
	claim.OnLook = s.look
	if s.w.cfg.MaxWait == NoWait && s.last.Fence == 0 {
		return s.try(ctx, claim)
	}
	// After an attempt of its own, a worker with NoWait waits too: until its own delay is over.
	return s.await(ctx, claim)
}

// claim is a claim of the job.
func (w *Worker) claim(job Job) lock.JobClaim {
	return lock.JobClaim{
		ID:          job.id(),
		TTL:         w.cfg.TTL,
		Retention:   w.cfg.retention(job),
		MaxAttempts: w.cfg.MaxAttempts,
	}
}

// await claims and waits. A grant that too few replicas have acknowledged was given back: it claims again.
func (s *session) await(ctx context.Context, claim lock.JobClaim) (granted lease, answer lock.JobResult, err error) {
	once := func() (err error) {
		granted, answer, err = s.w.jobs.Await(ctx, claim)
		if errors.Is(err, lock.ErrNotReplicated) && errors.Is(err, lock.ErrUnavailable) {
			return err
		}
		return backoff.Permanent(err)
	}
	err = backoff.RetryNotify(once, backoff.WithContext(unavailable(), ctx),
		func(err error, _ time.Duration) { s.trouble(err) })
	if err != nil && ctx.Err() != nil {
		err = withCause(ctx, err)
	}
	return granted, answer, err
}

// tryTime is how long a claim that does not wait may take before OnError is told that Redis is out of
// reach. In that time the Locker repeats it as the same claim: a grant whose reply was lost is found.
const tryTime = 3 * time.Second

// try claims without waiting for anything but Redis.
func (s *session) try(ctx context.Context, claim lock.JobClaim) (granted lease, answer lock.JobResult, err error) {
	once := func() (err error) {
		bounded, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		granted, answer, err = s.w.jobs.TryAwait(bounded, claim)
		switch {
		case err == nil || errors.Is(err, lock.ErrUnavailable):
			return err
		case bounded.Err() != nil:
			return fmt.Errorf("%w: %w", lock.ErrUnavailable, err)
		default:
			return backoff.Permanent(err)
		}
	}
	err = backoff.RetryNotify(once, backoff.WithContext(unavailable(), ctx),
		func(err error, _ time.Duration) { s.trouble(err) })
	if errors.Is(err, lock.ErrHeld) || errors.Is(err, lock.ErrTooEarly) {
		s.look(lock.Look{Result: answer})
		err = fmt.Errorf("%w: %w", err, errMaxWait)
	}
	return granted, answer, err
}

// again says, where this worker had an attempt before, that it claims another.
func (s *session) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		s.emit(s.progress.failed(s.failure))
	case s.last.Fence != 0:
		s.emit([]status.Event{{Kind: status.KindReacquiring}})
	}
}

// wait sets what limits the wait that begins, or, with nil, ends it: looks are ignored from then on.
func (s *session) wait(p *patience) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patience != nil {
		s.patience.end()
	}
	s.patience = p
}

func (s *session) granted(work context.Context, l lease) *Grant {
	grant := l.Grant()
	a := Attempt{Job: s.job, Number: l.Job().Attempt, Max: s.w.cfg.MaxAttempts, Fence: grant.Fence}
	s.mu.Lock()
	s.holder, s.last, s.failure, s.pending = nil, a, nil, nil
	s.emit(s.progress.granted(l.Job()))
	s.mu.Unlock()
	s.log.Info("attempt granted", append(a.fields(), zap.String("owner", grant.Owner))...)
	if f := s.w.cfg.Handlers.OnAcquired; f != nil {
		s.push("OnAcquired", func() { f(a) })
	}
	return newGrant(s, work, l, a)
}

// done is the answer that the job's run is done. If that was by this worker's last attempt, the reply
// to its Done was lost, and only now it is known.
func (s *session) done(job lock.JobInfo) Outcome {
	if s.last.Fence != 0 && job.Fence == s.last.Fence {
		s.reportDone(s.last)
		return Completed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress.see(job)
	s.emit([]status.Event{{Kind: status.KindCompletedElsewhere, Attempt: job.Attempt}})
	return CompletedElsewhere
}

// exhausted is the answer that no attempt is left.
func (s *session) exhausted(job lock.JobInfo) error {
	err := &ExhaustedError{Job: s.job, Attempts: job.Attempt, Cause: job.Cause}
	s.mu.Lock()
	events := s.progress.exhausted(job)
	s.mu.Unlock()
	s.reportExhausted(err, events)
	return err
}

// held is the error of a wait that Config.MaxWait ended.
func (s *session) held(err error) error {
	if errors.Is(err, lock.ErrTooEarly) {
		return fmt.Errorf("worker: %v failed elsewhere, and its delay is not over: %w, %w", s.job, lock.ErrTooEarly, lock.ErrHeld)
	}
	var by string
	if s.holder != nil {
		by = s.holder.owner
	}
	return fmt.Errorf("worker: %v by %q: %w", s.job, by, lock.ErrHeld)
}

// interrupted is the error of a call whose context has ended; err says what it was doing. Where it is
// not known whether the last attempt's end was recorded, the error says that too.
func (s *session) interrupted(ctx context.Context, err error) error {
	err = withCause(ctx, err)
	if s.pending != nil {
		err = fmt.Errorf("%w; attempt #%d: %w", err, s.last.Number, s.pending)
	}
	return err
}

// withCause is err as what came of the end of ctx: it is always the cause, and tells it once.
func withCause(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil || errors.Is(ctx.Err(), err):
		return cause
	case errors.Is(err, cause):
		return err
	default:
		return fmt.Errorf("%w: %w", cause, err)
	}
}

// patience ends a wait that lasts too long.
type patience struct {
	limit  time.Duration   // Config.MaxWait
	giveUp func(why error) // may be called on a goroutine of its own
	timer  *time.Timer
}

// patient is the patience of a worker without Config.MaxWait.
var patient = new(patience)

// begin starts the clock, once.
func (p *patience) begin() {
	switch {
	case p.limit == NoWait:
		p.giveUp(errMaxWait)
	case p.limit > 0 && p.timer == nil:
		p.timer = time.AfterFunc(p.limit, func() { p.giveUp(errMaxWait) })
	}
}

func (p *patience) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
