package worker

import (
	"context"
	"errors"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

const (
	// settlePatience is after which time a settlement that was not answered holds up the next one no more.
	settlePatience = 10 * time.Millisecond
	// maxSettle is how many attempts one settlement ends.
	maxSettle = 500
)

// ending is an attempt whose work has returned, and whose end is to be recorded.
type ending struct {
	t       *task
	grant   *Grant
	ctx     context.Context // of the attempt
	s       lock.Settlement
	cause   error                // why it failed
	failure error                // what came of the first try
	ended   func(Outcome, error) // tells the Tracer
	outcome Outcome
	err     error
}

// end notes what became of the attempt.
func (e *ending) end(outcome Outcome, err error) {
	e.outcome, e.err = outcome, err
	e.ended(outcome, err)
}

// settle has the ends of works recorded, as one collection. What ends while one is on its way goes with the
// next, as soon as that has been answered, or has taken long, or there are as many as works at a time.
func (p *pool) settle(now time.Time) {
	n := len(p.endings)
	if n == 0 || p.settling > 0 && n < p.w.cfg.Concurrency && now.Before(p.settled.Add(settlePatience)) {
		return
	}
	part := p.endings[:min(len(p.endings), maxSettle)]
	p.endings = p.endings[len(part):]
	p.settling++
	p.settled = now
	go func() {
		p.record(part)
		p.tell(func() {
			p.settling--
			for _, e := range part {
				if e.failure == nil {
					p.recorded(e)
				}
			}
		})
	}()
}

// record settles a collection, once. What that cannot do is tried again, each by itself.
func (p *pool) record(part []*ending) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.claimTime())
	defer cancel()
	leases, settlements := make([]lease, 0, len(part)), make([]lock.Settlement, 0, len(part))
	sent, ended := make([]*ending, 0, len(part)), make([]func(error), 0, len(part))
	for _, e := range part {
		over, err := e.grant.over(bounded, e.s)
		if e.failure = err; over {
			continue
		}
		_, step, end := e.grant.settling(e.ctx, e.s)
		leases, settlements = append(leases, e.grant.lease), append(settlements, e.s)
		sent, ended = append(sent, e), append(ended, func(err error) { end(step, err) })
	}
	for i, err := range p.w.jobs.SettleAll(bounded, leases, settlements) {
		e := sent[i]
		ended[i](err)
		e.failure = e.grant.noted(e.s, e.cause, err)
	}
	for _, e := range part {
		if e.failure != nil {
			go p.recordAlone(e)
			continue
		}
		e.end(e.grant.outcome(e.ctx, e.s.End, e.cause))
	}
}

// recordAlone goes on with what was tried once, as Run does.
func (p *pool) recordAlone(e *ending) {
	if errors.Is(e.failure, lock.ErrUnavailable) {
		e.grant.s.trouble(e.failure)
	}
	e.end(e.grant.finish(e.ctx, e.s, e.cause, e.failure))
	p.tell(func() { p.recorded(e) })
}

// recorded takes what became of an attempt.
func (p *pool) recorded(e *ending) {
	p.ending--
	if e.outcome == 0 && e.err == nil {
		e.t.again()
		p.open = append(p.open, e.t)
		return
	}
	p.end(e.t, e.outcome, e.err)
}
