package worker

import (
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/status"
)

// maxWaiting is beyond how many waiting calls of handlers the oldest status events are dropped.
const maxWaiting = 1024

// Handlers observe what a worker does; they decide nothing. Those that are nil are skipped.
//
// For each Run, for each RunAll with all of its jobs, and for each Acquire with its Grant, they are
// called one after another, in order, on a goroutine of their own; so a slow one delays no renewal and
// no work, but Run returns only when they have finished. Calls for several Runs happen at the same
// time. If more than 1,024 wait, the oldest status events are dropped, and an event of
// status.KindDropped says how many; nothing else is ever dropped: RunAll claims no more jobs meanwhile.
//
// A panic or runtime.Goexit in a handler is logged and passed to OnError, with its stack, and the next
// one is called. Handlers may call the worker's methods.
type Handlers struct {
	OnAcquired func(Attempt) // granted; the work begins
	OnDone     func(Attempt) // done, and recorded
	OnLost     func(Attempt) // the lease was lost before the attempt was settled

	// OnLocked: another has the lock; called again when it passes to yet another. The holder is empty
	// where the lock is only offered to a waiter.
	OnLocked func(job Job, holder string)

	OnFailed      func(Attempt, error) // failed, and recorded; the error may be a *PanicError
	OnMaxAttempts func(Job, error)     // no attempt is left; the error is an *ExhaustedError
	OnResult      func(Result)         // the last call of every Run whose arguments were valid, and of each job of RunAll
	OnStatus      func(status.Event)   // each step, as far as Config.StatusLevel enables it

	// OnError: what goes wrong beside the work: Redis cannot be reached, an outcome could not be
	// recorded, work or a handler panicked, work ignores its time limit.
	OnError func(Job, error)
}

// call is one call of a handler.
type call struct {
	s       *session // on whose behalf
	handler string
	status  bool // may be dropped
	f       func()
}

// caller calls the handlers of one Run, RunAll or Acquire, in order. Its goroutine lives only while
// there is something to call, so a Grant that is held for days has none.
type caller struct {
	relieved func() // called when there is room again; nil: nobody asks

	mu      sync.Mutex
	idle    sync.Cond // signalled when running becomes false
	waiting []call
	dropped int      // status events dropped and not reported yet,
	of      *session // the last of them of this one
	running bool
	closed  bool
}

func newCaller() *caller {
	c := &caller{}
	c.idle.L = &c.mu
	return c
}

// push has f called after all that was pushed before. It does not block.
func (c *caller) push(next call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.waiting = append(c.waiting, next)
	if len(c.waiting) > maxWaiting {
		c.dropOldestStatus()
	}
	if !c.running {
		c.running = true
		go c.run()
	}
}

func (c *caller) dropOldestStatus() {
	for i := range c.waiting {
		if c.waiting[i].status {
			c.of = c.waiting[i].s
			c.waiting = slices.Delete(c.waiting, i, i+1)
			c.dropped++
			return
		}
	}
}

func (c *caller) run() {
	for {
		next, ok := c.next()
		if !ok {
			return
		}
		if err := guard(func() error { next.f(); return nil }); err != nil {
			next.s.handlerBroken(next, err.(*PanicError))
		}
	}
}

// next takes the call that is due. The report of dropped events comes first, about where they would
// have.
func (c *caller) next() (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, s := c.dropped, c.of; n > 0 {
		c.dropped, c.of = 0, nil
		return call{s: s, handler: "OnStatus", f: func() { s.eventsDropped(n) }}, true
	}
	if len(c.waiting) == 0 {
		c.running = false
		c.idle.Broadcast()
		return call{}, false
	}
	next := c.waiting[0]
	c.waiting = c.waiting[1:]
	if len(c.waiting) == maxWaiting-1 && c.relieved != nil {
		c.relieved()
	}
	return next, true
}

// crowded reports whether more should not be pushed that cannot be dropped.
func (c *caller) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) >= maxWaiting
}

// close waits until everything that was pushed has been called; what is pushed later is ignored.
func (c *caller) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.running {
		c.idle.Wait()
	}
}

// handlerBroken logs a handler that did not return and tells OnError, unless that was the one.
func (s *session) handlerBroken(broken call, p *PanicError) {
	s.log.Error("handler did not return", zap.String("handler", broken.handler),
		zap.String("reason", p.headline()), zap.ByteString("stack", p.Stack))
	if onError := s.w.cfg.Handlers.OnError; onError != nil && broken.handler != "OnError" {
		again := guard(func() error {
			onError(s.job, fmt.Errorf("worker: handler %s: %w", broken.handler, p))
			return nil
		})
		if p, ok := again.(*PanicError); ok {
			s.handlerBroken(call{handler: "OnError"}, p)
		}
	}
}
