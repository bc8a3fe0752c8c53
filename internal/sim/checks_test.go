package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// These are the checks of what processes see: G2, outcomes, and, of what they do
// not see for too long, G6 and G7.

// A job at work is a grant as its holder knows it.
type atWork struct {
	p     *process
	fence int64
	data  int // how often all had been lost
}

func (w *world) enter(c *call) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.since = time.Now()
	w.calls = append(w.calls, c)
	return c
}

func (w *world) exit(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = slices.DeleteFunc(w.calls, func(x *call) bool { return x == c })
}

// begin is the beginning of work under a lease, whose context is ctx.
func (w *world) begin(ctx context.Context, c *call, fence int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.atWork = true
	c.fences = append(c.fences, fence)
	if c.p.dead {
		return
	}
	w.attempts++
	if other := w.atWork[c.key]; other != nil && ctx.Err() == nil && other.data == w.ledger.data {
		w.violate("G1 G2", "%q: process %d begins with fence %d, while the context of process %d with fence %d has not ended",
			c.key, c.p.number, fence, other.p.number, other.fence)
	}
	if ctx.Err() != nil {
		return
	}
	x := &atWork{p: c.p, fence: fence, data: w.ledger.data}
	w.atWork[c.key] = x
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inTime(c, fence)
		if w.atWork[c.key] == x {
			delete(w.atWork, c.key)
		}
	})
}

// finish is its end.
func (w *world) finish(ctx context.Context, c *call, fence int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil {
		w.inTime(c, fence)
	}
	c.atWork, c.since = false, time.Now()
	c.patient = c.patient && !c.once
	if x := w.atWork[c.key]; x != nil && x.fence == fence {
		delete(w.atWork, c.key)
	}
}

// inTime judges that a lease's context ends now, or had not ended until now (G2).
func (w *world) inTime(c *call, fence int64) {
	until, known := w.ledger.tenures[tenure{c.key, fence}]
	switch now := w.server.now() / 1000; {
	case c.p.dead:
	case !known:
		w.violate("G5", "%q: process %d works with fence %d, which was never granted", c.key, c.p.number, fence)
	case now > until:
		w.violate("G2", "%q: process %d works with fence %d for %d ms after its lease", c.key, c.p.number, fence, now-until)
	}
}

// confirm judges that a holder was told that its done is recorded.
func (w *world) confirm(c *call, fence int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.p.dead && !slices.Contains(w.ledger.done[c.place], fence) {
		w.violate("outcome", "%q: process %d was told that its fence %d is done; the record was never", c.place, c.p.number, fence)
	}
}

// judge holds what Run returned against the record.
func (w *world) judge(c *call, ctx context.Context, cfg worker.Config, outcome worker.Outcome, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.p.dead {
		return
	}
	w.outcomes[outcome]++
	done := w.ledger.done[c.place]
	var right bool
	switch outcome {
	case worker.Completed:
		right = err == nil && slices.ContainsFunc(c.fences, func(f int64) bool { return slices.Contains(done, f) })
	case worker.CompletedElsewhere:
		right = err == nil && len(done) > 0
	case worker.Exhausted:
		right = errors.Is(err, worker.ErrExhausted) && w.ledger.over[c.place]
	case worker.HeldElsewhere:
		right = cfg.MaxWait != 0 && errors.Is(err, lock.ErrHeld)
	case worker.Interrupted:
		right = ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
	default:
		right = c.p.going && errors.Is(err, lock.ErrClosed)
	}
	if !right {
		w.violate("outcome", "%q: Run of process %d with fences %d returned %v, %v; done by %d, exhausted %t",
			c.place, c.p.number, c.fences, outcome, err, done, w.ledger.over[c.place])
	}
}

// An idleness is a time for which a lock could have been granted.
type idleness struct {
	since time.Time
	fence string          // of the newest grant: a short one is seen by nothing else
	dead  map[string]bool // members of the queue that cannot claim
	most  int             // members it had, at the most
}

const (
	offer     = time.Second            // P
	step      = 100 * time.Millisecond // by how much each waiter asks later
	slack     = 100 * time.Millisecond // packets, and how often is looked
	aftermath = 8 * time.Second        // of a storm: sends that are late, pauses between tries
)

// idle finds locks that are free for longer than G6 and G7 allow, while somebody
// waits who may have them.
func (w *world) idle() {
	now, server := time.Now(), w.server.now()/1000
	calm := w.calm && now.Sub(w.calmSince) > aftermath
	for _, key := range w.keys() {
		i := w.idleness[key]
		if i == nil {
			i = &idleness{}
			w.idleness[key] = i
		}
		queue := w.ledger.queue[key]
		i.most = max(i.most, len(queue))
		if len(queue) == 0 {
			i.most = 0
		}
		waiter := w.waiter(key, i.since, server)
		granted := i.fence != w.ledger.highest[key]
		i.fence = w.ledger.highest[key]
		if granted || w.ledger.locks[key].live(server) || waiter == nil || !calm {
			i.since, i.dead = time.Time{}, nil
			continue
		}
		if i.since.IsZero() {
			i.since, i.dead = now, map[string]bool{}
			w.watched++
		}
		for _, m := range queue {
			if p := w.ledger.waiters[m[len(m)-11:]]; p == nil || p.dead || p.going || p.paused != nil {
				i.dead[m] = true
			}
		}
		bound := offer + time.Duration(i.most+1)*step + time.Duration(len(i.dead))*offer + slack
		w.longest = max(w.longest, now.Sub(i.since))
		if now.Sub(i.since) > bound {
			w.violate("G6 G7", "%q: free for %v, while process %d has waited for %v; the bound is %v, with %d in the queue and %d dead of them: %q",
				key, now.Sub(i.since), waiter.p.number, now.Sub(waiter.since), bound, i.most, len(i.dead), queue)
			i.since = time.Time{}
		}
	}
}

// waiter returns a call that may be granted a key, and may have been since then.
func (w *world) waiter(key string, since time.Time, server int64) *call {
	for _, c := range w.calls {
		p := c.p
		if c.key != key || c.atWork || !c.patient || p.dead || p.going || p.paused != nil || p.life.Err() != nil {
			continue
		}
		early := server // until when a run is too early must have been over
		if !since.IsZero() {
			if c.since.After(since) || p.wokenAt.After(since) {
				continue
			}
			early = since.Add(w.server.clock).UnixMilli()
		}
		if j := w.ledger.jobs[c.place]; j != nil && (j.notBefore >= early || j.state == 'd' || j.state == 'x' || j.state == 'p') {
			continue
		}
		return c
	}
	return nil
}

func (w *world) keys() []string {
	keys := []string{"lock-0", "lock-1"}
	for n := range w.plan.keys {
		keys = append(keys, fmt.Sprintf("job-%d", n))
	}
	return keys
}
