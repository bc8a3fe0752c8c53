package lock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// sendTime bounds one send of a call; after it the call is sent again on
	// another connection.
	sendTime = time.Second
	// giveUp bounds a call whose context has no deadline.
	giveUp = 30 * time.Second
	// offerTime is how long an offer stands (P).
	offerTime = time.Second
	// probeTime is after which time the oldest waiter claims again: soon enough to
	// find an offer that it was not told of before that lapses.
	probeTime = offerTime * 4 / 5
)

// A call is one script call for one shard. It is sent until it is answered, its
// caller leaves, or its time is over; always with the same arguments, so that a
// claim that had been executed finds its own nonce.
type call struct {
	script *script
	shard  int
	args   []any
	names  []string // resources, and mostly a text for each: follow args
	texts  []string
	bound  time.Duration // of one send; 0 is sendTime
	until  time.Duration // by the Locker's clock: no send after it
	dated  bool          // its first argument is the time of its first send, if that was not answered
	once   bool          // must not be executed after its caller left: it has a not-after
	kin    string        // calls of equal kin may travel as one; "": it goes alone
	local  func() []any  // the arguments of renewScript, if it may stand in while a slot migrates
	orphan func(*call)   // takes a call that was answered, or given up, after its caller left

	// Written by the goroutine that sends it, and read when that has let go of it.
	reply      []any
	sent       time.Duration // when the answered send left
	stamp      int64         // Redis's time of execution, µs
	limit      int64         // the not-after of the last send, ms of Redis time
	ghost      int64         // the latest not-after of a send that was not answered: until then it may still be executed
	unanswered bool          // some send was not answered: it may have been executed
	broken     bool          // Redis stopped the script with an error, perhaps half-way
	short      error         // why what the answered send wrote counts as not replicated
	began      time.Duration // the first send
	pause      backoff.BackOff
	err        error
	load       bool // send the source, not the SHA
	redirect   bool // let the cluster client follow the slot
	late       int  // how often it was too late
	hopeless   bool // it cannot succeed: err says why
	fresh      bool // its shard is to be set up before the next send

	done    chan<- *call          // takes it when it is finished
	trouble atomic.Pointer[error] // what the last send came to, for a caller who leaves
	state   atomic.Int32          // waiting for its answer, answered, or left by its caller
}

// follows tells whether a grant was made after the first send of a call that was
// not answered, as far as the clocks tell.
func (c *call) follows(fence int64) bool {
	since, known := c.args[0].(int64)
	return !known || fence/1000 >= since
}

// mayHaveGranted tells whether a claim may have got what its caller was not told of.
func (c *call) mayHaveGranted() bool {
	return c.began != 0 && (c.err == nil || c.unanswered || c.broken)
}

const (
	callWaiting = iota
	callAnswered
	callLeft
)

// str returns a string of the reply; "" where there is none.
func (c *call) str(i int) string {
	if i < len(c.reply) {
		if s, ok := c.reply[i].(string); ok {
			return s
		}
	}
	return ""
}

// exec sends the calls and returns when each is answered, has failed, or ctx has
// ended; in that case, or when the Locker is closed, a call not yet answered is
// left to its orphan. What a call came to is told by outcome.
func (l *Locker) exec(ctx context.Context, calls ...*call) {
	l.execUntil(ctx, l.closing, calls)
}

func (l *Locker) execUntil(ctx, closing context.Context, calls []*call) {
	if len(calls) == 0 {
		return // no input was valid
	}
	until := l.now() + giveUp
	if d, ok := ctx.Deadline(); ok {
		until = l.now() + min(time.Until(d), giveUp)
	}
	for _, c := range calls {
		if c.until == 0 || c.until > until {
			c.until = until
		}
	}
	for _, c := range calls {
		if c.orphan != nil {
			l.chores.add()
		}
	}
	done := make(chan *call, len(calls))
	for _, c := range calls {
		c.done = done
	}
	l.start(ctx, calls)
	for n := len(calls); n > 0; {
		select {
		case <-done:
			n--
		case <-ctx.Done():
			leave(calls)
			return
		case <-closing.Done():
			leave(calls)
			return
		}
	}
}

// leave parts with the calls that are not answered.
func leave(calls []*call) {
	for _, c := range calls {
		c.state.CompareAndSwap(callWaiting, callLeft)
	}
}

// outcome returns what a call came to, for its caller: nil if it was answered.
func (l *Locker) outcome(ctx context.Context, c *call) error {
	if c.state.Load() != callLeft {
		if cause := ended(ctx); c.err != nil && cause != nil {
			return fmt.Errorf("%w: %w", cause, c.err)
		}
		return c.err
	}
	if l.closing.Err() != nil {
		return ErrClosed
	}
	if trouble := c.trouble.Load(); trouble != nil {
		return fmt.Errorf("%w: %w: %w", context.Cause(ctx), ErrUnavailable, *trouble)
	}
	return context.Cause(ctx)
}

// ended returns why a context has ended, or is about to: a call's own time, taken
// from the same deadline, may be over a moment before the context's timer.
func ended(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && ctx.Err() == nil && time.Until(d) < time.Millisecond {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}

// finish lets go of a call: to its caller, or to its orphan.
func (l *Locker) finish(c *call, err error) {
	c.err = err
	if c.state.CompareAndSwap(callWaiting, callAnswered) {
		c.done <- c
	} else if c.orphan != nil {
		c.orphan(c)
	}
	if c.orphan != nil {
		l.chores.done()
	}
}
