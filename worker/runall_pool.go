package worker

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockingworker/lockingworker/lock"
)

const (
	// maxTaken is how many jobs are taken from a sequence and have not ended, at most.
	maxTaken = 4096
	// maxPassing of them are on their way to the pool.
	maxPassing = 256
)

// pool is one call of RunAll. All of it belongs to the goroutine of run; others tell that what happens.
//
//	          ┌──── later ◄────┐
//	          ▼                │ held, too early
//	put ──► open ──► claimed ──┴─► ready ──► work ──► ended
//	 ▲        ▲                      │ not begun soon    │ again: failed, lost
//	 │        └──────────────────────┴───────────────────┘
//	 └── behind, while another with its key is in the pool
type pool struct {
	w      *Worker
	ctx    context.Context // the works'
	stop   context.CancelCauseFunc
	work   Func
	caller *caller

	jobs   chan Job      // from the sequence; closed when it has ended
	events chan func()   // what others have run do
	kick   chan struct{} // handlers have caught up
	over   chan struct{} // run has returned

	taken  int                // tasks that have not ended
	whole  bool               // the sequence has ended by itself
	behind map[string][]*task // who waits for the task with its key to end; an entry for each that is in the pool

	open  []*task   // to be claimed, in no order
	later taskHeap  // to be claimed when they are due
	ready []*task   // granted and not begun, in the order of their grants
	pause time.Time // nothing is claimed before

	claiming bool // a claim is on its way
	working  int
	ending   int       // works that have returned, and whose end is not recorded
	endings  []*ending // those of them that are to be settled
	settling int       // settlements on their way
	settled  time.Time // when the latest of them began

	trip, took time.Duration // how long a claim and a work take, lately
	spread     float64       // by how much more is claimed than there is room for, because most is refused
	outage     backoff.BackOff

	summary Summary
	first   [len(outcomes)]error // the first error of each outcome
}

// task is a job in a pool.
type task struct {
	s      *session
	lease  lease     // while it is ready
	since  time.Time // when it was granted
	wait   int       // how many waits have begun, one for each acquisition
	looks  int       // how often it was claimed in this one
	late   bool      // Config.MaxWait is over
	answer error     // the last refusal
	due    time.Time // when it is to be claimed again
	index  int       // in later; -1: is not
}

func newPool(ctx context.Context, w *Worker, work Func) *pool {
	p := &pool{
		w:      w,
		work:   work,
		caller: newCaller(),
		jobs:   make(chan Job, maxPassing),
		events: make(chan func(), maxPassing),
		kick:   make(chan struct{}, 1),
		over:   make(chan struct{}),
		behind: make(map[string][]*task),
		spread: 1,
		outage: unavailable(),
	}
	p.ctx, p.stop = context.WithCancelCause(ctx)
	p.caller.relieved = func() {
		select {
		case p.kick <- struct{}{}:
		default:
		}
	}
	return p
}

// run goes on until every task has ended and no more will come.
func (p *pool) run() {
	defer close(p.over)
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := p.ctx.Done()
	for p.jobs != nil || p.taken > 0 || p.claiming {
		var next time.Time
		now := time.Now()
		p.settle(now)
		if p.ctx.Err() == nil {
			p.begin()
			p.tidy(now)
			p.claim(now)
			next = p.next(now)
		} else {
			p.interrupt()
			if p.taken == 0 && !p.claiming {
				return // what the sequence may yet yield is not wanted
			}
		}
		if late := p.settled.Add(settlePatience); len(p.endings) > 0 && (next.IsZero() || late.Before(next)) {
			next = late
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case job, more := <-p.in():
			if !more {
				p.jobs, p.whole = nil, p.ctx.Err() == nil
				continue
			}
			p.take(job)
			for range min(len(p.jobs), maxTaken-maxPassing-p.taken) { // what has come meanwhile
				if job, more := <-p.jobs; more {
					p.take(job)
				}
			}
		case event := <-p.events:
			event()
			for range len(p.events) { // what has happened meanwhile
				(<-p.events)()
			}
		case <-p.kick: // and look again
		case <-timer.C:
		case <-ended:
			ended = nil
		}
	}
}

// in is where jobs come from, while there is room for more.
func (p *pool) in() <-chan Job {
	if p.taken >= maxTaken-maxPassing || p.ctx.Err() != nil {
		return nil
	}
	return p.jobs
}

// tell has run do something, unless it has returned.
func (p *pool) tell(event func()) {
	select {
	case p.events <- event:
	case <-p.over:
	}
}

// next is when something is to be done though nothing happens; zero if nothing is.
func (p *pool) next(now time.Time) time.Time {
	var next time.Time
	if len(p.ready) > 0 {
		next = p.ready[0].since.Add(p.soon())
	}
	if p.claiming || p.room() <= 0 {
		return next
	}
	var claim time.Time
	if len(p.open) > 0 {
		claim = p.pause // if it is over, the handlers have to catch up
	} else if len(p.later) > 0 {
		claim = p.later[0].due
	}
	if claim.After(now) && (next.IsZero() || claim.Before(next)) {
		next = claim
	}
	return next
}

// take takes a job from the sequence.
func (p *pool) take(job Job) {
	t := &task{s: p.w.begin(job, p.caller), index: -1}
	p.taken++
	if err := check(p.ctx, job); err != nil {
		p.count(t, 0, err)
		return
	}
	if behind, busy := p.behind[job.Key]; busy {
		p.behind[job.Key] = append(behind, t)
		return
	}
	p.behind[job.Key] = nil
	p.open = append(p.open, t)
}

// begin has works begin, as many as may.
func (p *pool) begin() {
	n := p.w.cfg.Concurrency
	for len(p.ready) > 0 && p.working < n && p.working+p.ending < n+maxEnding*n {
		t := p.ready[0]
		p.ready = p.ready[1:]
		p.working++
		p.summary.Attempts++
		go p.perform(t, t.lease)
		t.lease = nil
	}
}

// perform does the work of one attempt, on a goroutine of its own.
func (p *pool) perform(t *task, l lease) {
	began := time.Now()
	step := t.s.step("run")
	step.Attempt.Number, step.Attempt.Fence = l.Job().Attempt, l.Grant().Fence
	ctx, ended := p.w.trace(p.ctx, step)
	grant := t.s.granted(ctx, l)
	err := grant.perform(ctx, p.work)
	took := time.Since(began)
	e := &ending{t: t, grant: grant, ctx: ctx, ended: func(outcome Outcome, err error) {
		step.Outcome = outcome
		ended(step, err)
	}}
	end, err := grant.judge(ctx, err)
	e.s, e.cause = grant.settlement(end, err), err
	p.tell(func() {
		p.working--
		p.ending++
		p.took = average(p.took, took)
		p.endings = append(p.endings, e)
	})
}

// end ends a task whose key is in the pool, and lets in who waits behind it.
func (p *pool) end(t *task, outcome Outcome, err error) {
	key := t.s.job.Key
	if behind := p.behind[key]; len(behind) > 0 {
		p.behind[key] = behind[1:]
		p.open = append(p.open, behind[0])
	} else {
		delete(p.behind, key)
	}
	p.count(t, outcome, err)
	if outcome == 0 && !errors.Is(err, lock.ErrCorruptState) && !errors.Is(err, lock.ErrInvalid) {
		p.stop(err) // it would be the same for the others
	}
}

// count reports and counts a task that has ended.
func (p *pool) count(t *task, outcome Outcome, err error) {
	t.s.wait(nil)
	t.s.end(outcome, err)
	p.taken--
	p.summary.count(outcome)
	if err != nil && p.first[outcome] == nil {
		p.first[outcome] = err
	}
}

// interrupt ends, after the context, what has not begun.
func (p *pool) interrupt() {
	p.giveBack(p.ready)
	p.ready = nil
	for len(p.later) > 0 {
		p.open = append(p.open, heap.Pop(&p.later).(*task))
	}
	for len(p.open) > 0 { // each may let in another
		t := p.open[len(p.open)-1]
		p.open = p.open[:len(p.open)-1]
		p.end(t, Interrupted, t.s.interrupted(p.ctx, t.answer))
	}
}

// result is the error of RunAll.
func (p *pool) result() error {
	if p.whole && p.summary.Done() == p.summary.Jobs() {
		return nil
	}
	e := &UnfinishedError{Summary: p.summary, first: p.first}
	if !p.whole {
		e.Cause = context.Cause(p.ctx)
	}
	return e
}

// again begins another acquisition.
func (t *task) again() { t.looks, t.answer = 0, nil }

// average is a mean in which the latest counts for an eighth.
func average(mean, latest time.Duration) time.Duration {
	latest = max(latest, 1)
	if mean == 0 {
		return latest
	}
	return (7*mean + latest) / 8
}

// taskHeap has tasks by when they are due.
type taskHeap []*task

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *taskHeap) Push(x any) {
	t := x.(*task)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// takeAny takes n tasks out of those that are open, at random.
func (p *pool) takeAny(n int) []*task {
	taken := make([]*task, n)
	for i := range taken {
		last := len(p.open) - 1
		at := rand.IntN(last + 1)
		taken[i] = p.open[at]
		p.open[at] = p.open[last]
		p.open[last] = nil
		p.open = p.open[:last]
	}
	return taken
}
