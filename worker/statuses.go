package worker

import (
	"errors"
	"slices"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// progress is what a worker knows of a job's run from the answers to its claims. It turns each answer
// into the status events that it stands for: what is different from what was known before. A claim
// looks, counts and grants in one step, so several messages of the seed come from one answer.
type progress struct {
	known   bool  // there was an answer
	attempt int   // the counter as last seen
	fence   int64 // of the last grant as last seen
	ended   bool  // that attempt has ended without being done, and that was reported
	raced   bool  // that the race for the next one is lost was reported
}

// again is a waiter's next claim.
func (p *progress) again() []status.Event {
	if !p.known {
		return nil // not again, but still the first: Redis has not answered yet
	}
	return []status.Event{{Kind: status.KindChecking, Attempt: p.attempt}, {Kind: status.KindReacquiring}}
}

// refused is an answer that another has the lock, or that it is too early.
func (p *progress) refused(answer lock.JobResult) []status.Event {
	job := answer.Job
	if !p.known {
		p.see(job)
		return nil // news only beside something older
	}
	var events []status.Event
	next := p.ended && job.Attempt == p.attempt+1 // this worker claimed for that very attempt
	switch {
	case p.gone(job):
		events = append(events, status.Event{Kind: status.KindGone})
	case job.Fence == p.fence || job.Attempt < p.attempt: // the same, or it was given back
	case job.Attempt > p.attempt && !next:
		events = append(events, status.Event{Kind: status.KindOvertaken, Expected: p.attempt, Attempt: job.Attempt})
	case !p.raced:
		events = append(events, status.Event{Kind: status.KindRaced})
	}
	p.see(job)
	if job.State == lock.JobFailed && !p.ended {
		p.ended = true
		events = append(events, notCompleted(job))
	}
	if offered(answer) && !p.raced {
		p.raced = true
		events = append(events, status.Event{Kind: status.KindRaced})
	}
	return events
}

// granted is an attempt of this worker.
func (p *progress) granted(job lock.JobInfo) []status.Event {
	var events []status.Event
	before := job.Attempt - 1
	switch {
	case !p.known:
	case p.gone(job):
		events = append(events, status.Event{Kind: status.KindGone})
	case before == 0 || before < p.attempt: // none was before, or it was given back and is not counted
	case before > p.attempt || !p.ended:
		events = append(events, status.Event{Kind: status.KindNotCompleted, Attempt: before})
	}
	p.see(job)
	return append(events,
		status.Event{Kind: status.KindAttemptCount, Attempt: before},
		status.Event{Kind: status.KindAttempt, Attempt: job.Attempt})
}

// failed is the end of this worker's own attempt, after which it claims again.
func (p *progress) failed(err error) []status.Event {
	p.ended = true
	return []status.Event{
		{Kind: status.KindNotCompleted, Attempt: p.attempt, Err: err},
		{Kind: status.KindReacquiring},
	}
}

// exhausted is an answer that no attempt is left.
func (p *progress) exhausted(job lock.JobInfo) []status.Event {
	var events []status.Event
	if p.known && !p.ended && job.Attempt > 0 {
		events = append(events, notCompleted(job))
	}
	p.see(job)
	return append(events,
		status.Event{Kind: status.KindAttemptCount, Attempt: job.Attempt},
		status.Event{Kind: status.KindGivingUp, Attempt: job.Attempt})
}

func (p *progress) see(job lock.JobInfo) {
	same := p.known && job.Fence == p.fence
	*p = progress{
		known:   true,
		attempt: job.Attempt,
		fence:   job.Fence,
		ended:   same && p.ended,
		raced:   same && p.raced,
	}
}

// gone reports whether the record that was known is no more, because it was reset or forgotten: what
// is there now does not know that record's last attempt.
func (p *progress) gone(job lock.JobInfo) bool {
	if p.fence == 0 || job.Fence == p.fence {
		return false
	}
	if len(job.Attempts) > 0 && job.Attempts[0].Number > 1 {
		return false // only the latest attempts are kept: cannot tell
	}
	return !slices.ContainsFunc(job.Attempts, func(a lock.AttemptInfo) bool { return a.Fence == p.fence })
}

func notCompleted(job lock.JobInfo) status.Event {
	return status.Event{Kind: status.KindNotCompleted, Attempt: job.Attempt}
}

// offered reports whether a refusal says that the lock waits for another waiter to claim it.
func offered(answer lock.JobResult) bool {
	return errors.Is(answer.Grant.Err, lock.ErrHeld) && answer.Grant.Owner == ""
}
