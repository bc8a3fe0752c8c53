package worker

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

const (
	// maxClaim is how many jobs one claim of a pool is for: ten scripts of a millisecond at most.
	maxClaim = 500
	// maxSpread is how many times as much is claimed as there is room for, where most is refused.
	maxSpread = 32
	// maxAhead is how many times Concurrency is claimed ahead, where jobs are very short.
	maxAhead = 8
	// maxEnding is how many times Concurrency works have returned and are being recorded, at most: a
	// process that dies leaves them to be repeated.
	maxEnding = 4
	// A refused job is claimed again after firstPause, and each time after twice as long.
	firstPause = 10 * time.Millisecond
	lastPause  = 5 * time.Second
)

// claimTime bounds a claim. A grant is not kept before the whole claim is answered, and of a Cluster one
// node may not answer: a grant of another one must have most of its lease left then.
func (p *pool) claimTime() time.Duration { return min(p.w.cfg.TTL/3, time.Second) }

// soon is within what time a grant must begin, or it is given back.
func (p *pool) soon() time.Duration { return min(p.w.cfg.TTL/2, time.Second) }

// ahead is how many jobs begin, at the pace of late, while a claim is on its way.
func (p *pool) ahead() int {
	if p.took == 0 {
		return 0
	}
	n := p.w.cfg.Concurrency
	return int(min(int64(n)*int64(p.trip)/int64(p.took), int64(maxAhead*n)))
}

// room is how many more jobs may be granted.
func (p *pool) room() int {
	return p.w.cfg.Concurrency + p.ahead() - p.working - len(p.ready)
}

// claim sends a claim, if there is something to claim and room for it, and none on its way.
func (p *pool) claim(now time.Time) {
	for len(p.later) > 0 && !p.later[0].due.After(now) {
		p.open = append(p.open, heap.Pop(&p.later).(*task))
	}
	room := p.room()
	if p.claiming || room <= 0 || len(p.open) == 0 || now.Before(p.pause) || p.caller.crowded() {
		return
	}
	tasks := p.takeAny(min(int(math.Ceil(float64(room)*p.spread)), maxClaim, len(p.open)))
	claims := make([]lock.JobClaim, len(tasks))
	for i, t := range tasks {
		claims[i] = p.w.claim(t.s.job)
	}
	p.claiming = true
	go func() {
		bounded, cancel := context.WithTimeout(p.ctx, p.claimTime())
		defer cancel()
		sent := time.Now()
		leases, answers, err := p.w.jobs.TryAwaitSome(bounded, room, claims)
		trip := time.Since(sent)
		if len(answers) == 0 { // it was not even begun
			leases, answers = make([]lease, len(tasks)), make([]lock.JobResult, len(tasks))
			for i := range answers {
				answers[i].Grant.Err = err
			}
		}
		p.whose(bounded, tasks, answers)
		late := bounded.Err() != nil
		p.tell(func() {
			p.claiming = false
			p.trip = average(p.trip, trip)
			p.answered(tasks, leases, answers, late, room)
		})
	}()
}

// whose finds out, of what is done and had an attempt here whose end is not known, whether it was done by that.
// The answer to a claim does not say it. Where it cannot be found out the task is claimed again.
func (p *pool) whose(ctx context.Context, tasks []*task, answers []lock.JobResult) {
	for i, t := range tasks {
		a := &answers[i]
		if t.s.last.Fence == 0 || a.Job.Fence != 0 || !errors.Is(a.Grant.Err, lock.ErrJobDone) {
			continue
		}
		infos, err := p.w.jobs.Get(ctx, t.s.job.id())
		if err != nil {
			a.Grant.Err = err
			continue
		}
		a.Job = infos[0]
	}
}

// look notes that a task was claimed, before it takes the answer.
func (p *pool) look(t *task) {
	t.looks++
	if t.looks > 1 {
		t.s.look(lock.Look{Again: true})
		return
	}
	t.s.again()
	t.late = false
	if p.w.cfg.MaxWait == 0 {
		t.s.wait(patient)
		return
	}
	t.wait++
	n := t.wait
	t.s.wait(&patience{limit: p.w.cfg.MaxWait, giveUp: func(error) {
		if p.w.cfg.MaxWait == NoWait {
			t.late = true // this is run's goroutine
			return
		}
		p.tell(func() { p.giveUp(t, n) })
	}})
}

// giveUp ends the n-th wait of a task: Config.MaxWait is over.
func (p *pool) giveUp(t *task, n int) {
	if t.wait != n {
		return
	}
	t.late = true
	if t.index >= 0 {
		heap.Remove(&p.later, t.index)
		p.end(t, HeldElsewhere, t.s.held(t.answer))
	}
}

// answered takes the answers to a claim. late says that not all may have come in time, room how many
// grants were wanted.
func (p *pool) answered(tasks []*task, leases []lease, answers []lock.JobResult, late bool, room int) {
	now := time.Now()
	var missed []*task
	var trouble error
	granted, tried := 0, 0
	for i, t := range tasks {
		answer := &answers[i]
		err := answer.Grant.Err
		if errors.Is(err, lock.ErrEnough) {
			p.open = append(p.open, t)
			continue
		}
		tried++
		if t.looks == 0 && err == lock.ErrJobDone { // most frequent, and news to nobody
			p.refused(t, answer, err)
			continue
		}
		p.look(t)
		switch {
		case err == nil:
			t.s.wait(nil)
			t.lease, t.since = leases[i], now
			p.ready = append(p.ready, t)
			granted++
		case errors.Is(err, lock.ErrJobDone), errors.Is(err, lock.ErrJobExhausted):
			p.refused(t, answer, err)
		case p.ctx.Err() != nil:
			p.refused(t, answer, err)
		case errors.Is(err, lock.ErrHeld), errors.Is(err, lock.ErrTooEarly):
			t.answer = err
			t.s.look(lock.Look{Result: *answer})
			if t.late {
				p.refused(t, answer, fmt.Errorf("%w: %w", err, errMaxWait))
				continue
			}
			p.defers(t, now.Add(pauseAfter(*answer, t.looks)))
		case errors.Is(err, lock.ErrUnavailable), late:
			missed, trouble = append(missed, t), err
		default:
			p.refused(t, answer, err)
		}
	}
	p.miss(missed, trouble, len(missed) == len(tasks), now)
	p.spread = max(1, min(float64(tried)/float64(max(granted, 1)), 2*p.spread, maxSpread))
	if granted > room { // others may have what cannot begin
		p.begin()
		fit := max(0, len(p.ready)+min(0, p.room()))
		p.giveBack(p.ready[fit:])
		p.ready = p.ready[:fit]
	}
}

// refused ends a task that was refused for good.
func (p *pool) refused(t *task, answer *lock.JobResult, err error) {
	t.s.wait(nil)
	outcome, err := t.s.refusal(p.ctx, *answer, err)
	p.end(t, outcome, err)
}

// miss has those claimed again later whom Redis could not answer. If that were all, nothing else is
// claimed before.
func (p *pool) miss(tasks []*task, err error, all bool, now time.Time) {
	if len(tasks) == 0 {
		p.outage.Reset()
		return
	}
	tasks[0].s.trouble(fmt.Errorf("worker: %d jobs could not be claimed: %w", len(tasks), err))
	until := now.Add(p.outage.NextBackOff())
	if all {
		p.pause = until
	}
	for _, t := range tasks {
		p.defers(t, until)
	}
}

// defers has a task claimed again when it is due.
func (p *pool) defers(t *task, due time.Time) {
	t.due = due
	heap.Push(&p.later, t)
}

// pauseAfter is how long to wait after the n-th refusal in a row: not beyond the end of what bars the
// way, where that is known. Not-before is told by Redis's clock, which may not be ours.
func pauseAfter(answer lock.JobResult, n int) time.Duration {
	d := lastPause
	if n < 10 {
		d = min(firstPause<<(n-1), lastPause)
	}
	d = d*3/4 + rand.N(d/2)
	if errors.Is(answer.Grant.Err, lock.ErrTooEarly) {
		early := min(time.Until(answer.Job.NotBefore), lastPause-time.Millisecond) + time.Millisecond
		return min(max(d, early), lastPause)
	}
	if left := answer.Grant.TTL; left < d {
		d = left + rand.N(firstPause)
	}
	return d
}

// tidy gives back what was claimed ahead and has not begun soon.
func (p *pool) tidy(now time.Time) {
	n := 0
	for n < len(p.ready) && now.Sub(p.ready[n].since) >= p.soon() {
		n++
	}
	if n > 0 {
		p.took = max(p.took, p.soon()) // they are not so short any more
		p.giveBack(p.ready[:n])
		p.ready = p.ready[n:]
	}
}

// giveBack gives grants back that were not begun, uncounted.
func (p *pool) giveBack(tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	leases, settlements := make([]lease, len(tasks)), make([]lock.Settlement, len(tasks))
	for i, t := range tasks {
		leases[i], settlements[i] = t.lease, lock.Settlement{End: lock.Returned, Retention: p.w.cfg.retention(t.s.job)}
		t.lease = nil
	}
	tasks = slices.Clone(tasks)
	go func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), min(max(p.w.cfg.TTL, minRelease), maxRelease))
		defer cancel()
		errs := p.w.jobs.SettleAll(release, leases, settlements)
		for i, err := range errs {
			if err != nil && !errors.Is(err, lock.ErrLeaseLost) {
				leases[i].Lapse()
				tasks[i].s.trouble(fmt.Errorf("worker: a grant that was not begun could not be given back: %w", err))
			}
		}
		p.tell(func() {
			for _, t := range tasks {
				t.again()
				p.defers(t, time.Now().Add(firstPause))
			}
		})
	}()
}
