package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// A flight is one send of calls to one node, in one pipeline.
type flight struct {
	l       *Locker
	calls   []*call
	bundles []*bundle
	confirm *confirmation         // behind them; nil: no replicas are asked
	node    redis.UniversalClient // nil: to be found
	gate    *gate                 // which it came through, if any
	ctx     context.Context       // of the caller on whose goroutine it is sent; nil: on one of its own

	sent   time.Duration
	over   time.Time   // when its bound is over
	due    time.Time   // when the watchdog is to look at it: then, or at the end of the gate's patience
	slot   int         // its place at the watchdog's
	landed atomic.Bool // answered, or given up
	passed atomic.Bool // has let the next one through its gate
}

// start sends the calls, one pipeline per node, from goroutines of its own; or
// from the caller's, if the client heeds its context.
func (l *Locker) start(ctx context.Context, calls []*call) {
	if _, ok := l.rdb.(*redis.ClusterClient); ok {
		go l.spread(calls, func(node redis.UniversalClient, calls []*call) {
			if f := l.admit(node, calls); f != nil {
				go l.fly(f)
			}
		})
		return
	}
	f := l.admit(l.rdb, calls)
	switch {
	case f == nil: // somebody else's flight takes them along
	case l.heeds && f.gate != nil:
		f.ctx = ctx
		f.once()
	default:
		go l.fly(f)
	}
}

// once sends the calls from the caller's goroutine; what is to be sent again is
// sent from another.
func (f *flight) once() {
	defer f.pass() // also if a hook of the client's panics
	if !f.prepare() || !f.transmit() {
		return
	}
	if again, wait := f.land(nil); len(again) > 0 {
		go func() { f.l.fly(f.regroup(again, wait)) }()
	}
}

// A sendContext is a caller's context whose deadline is the send's bound, too. That
// bounds reads and writes, for which the client looks at the deadline, and needs
// no timer; what waits for a connection looks at Done, which is the caller's.
type sendContext struct {
	context.Context
	until time.Time
}

func (c sendContext) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.until) {
		return d, true
	}
	return c.until, true
}

// spread sends calls to the nodes of their shards.
func (l *Locker) spread(calls []*call, send func(redis.UniversalClient, []*call)) {
	byNode := make(map[redis.UniversalClient][]*call)
	for _, c := range calls {
		node, err := l.nodeOf(c.shard)
		if err != nil || c.redirect { // alone
			go l.fly(&flight{l: l, calls: []*call{c}})
			continue
		}
		byNode[node] = append(byNode[node], c)
	}
	for node, calls := range byNode {
		send(node, calls)
	}
}

// nodeOf returns the client of the node that has a shard.
func (l *Locker) nodeOf(shard int) (redis.UniversalClient, error) {
	cluster, ok := l.rdb.(*redis.ClusterClient)
	if !ok {
		return l.rdb, nil
	}
	ctx, cancel := context.WithTimeout(l.dead, sendTime)
	defer cancel()
	return cluster.MasterForKey(ctx, l.shards[shard].keys[metaKey])
}

// fly sends calls until each is finished.
func (l *Locker) fly(f *flight) {
	for f != nil && f.prepare() {
		if !f.transmit() {
			return // the watchdog has taken over
		}
		f = f.regroup(f.land(nil))
	}
}

// prepare finishes the calls whose time is over, and builds the commands of the
// others. It returns whether there are any.
func (f *flight) prepare() bool {
	l := f.l
	f.sent = l.now()
	calls := make([]*call, 0, len(f.calls))
	for _, c := range f.calls {
		switch {
		case c.state.Load() == callLeft, c.hopeless:
			l.finish(c, c.err)
		case c.until <= f.sent || l.dead.Err() != nil:
			if c.err == nil {
				c.err = context.DeadlineExceeded
			}
			l.finish(c, fmt.Errorf("%w: %w", ErrUnavailable, c.err))
		default:
			calls = append(calls, c)
		}
	}
	f.calls = calls
	if len(calls) == 0 {
		f.pass()
		return false
	}
	f.bundles = bundles(calls, f.sent)
	limit := f.sent + f.bound()
	var loaded []*script // by this pipeline
	for _, b := range f.bundles {
		first := b.calls[0]
		source := first.load && !slices.Contains(loaded, first.script)
		if source && !first.redirect {
			loaded = append(loaded, first.script)
		}
		b.cmd = l.command(b, limit, source)
		for _, c := range b.calls {
			if c.began == 0 {
				c.began = f.sent
			}
		}
	}
	f.confirm = l.confirmation(f)
	return true
}

// bound is how long this send may take.
func (f *flight) bound() time.Duration {
	bound := sendTime
	for _, c := range f.calls {
		if c.bound > 0 {
			bound = min(bound, c.bound)
		}
	}
	return bound
}

// transmit sends the commands in one pipeline; their errors tell what came of
// it. go-redis may take longer than the send's bound: then the flight goes on
// without it, on another goroutine, and transmit returns false in the end.
func (f *flight) transmit() bool {
	f.l.watchdog.watch(f)
	defer f.l.watchdog.forget(f)
	ctx := f.l.dead
	if f.ctx != nil {
		ctx = sendContext{f.ctx, f.over}
	}
	node, err := f.node, error(nil)
	if f.calls[0].redirect && f.confirm == nil {
		node = f.l.rdb
	} else if node == nil {
		node, err = f.l.nodeOf(f.calls[0].shard)
	}
	switch {
	case err != nil:
		for _, b := range f.bundles {
			b.cmd.SetErr(err)
		}
	case f.confirm != nil:
		f.confirm.send(ctx, node, f)
	case len(f.bundles) == 1:
		_ = node.Process(ctx, f.bundles[0].cmd)
	default:
		pipe := node.Pipeline()
		for _, b := range f.bundles {
			_ = pipe.Process(ctx, b.cmd)
		}
		_, _ = pipe.Exec(ctx)
	}
	return f.landed.CompareAndSwap(false, true)
}

// overdue takes over from a send that was not answered in time.
func (f *flight) overdue() {
	if f.landed.CompareAndSwap(false, true) {
		f.l.fly(f.regroup(f.land(errSlow)))
	}
}

// errSlow is what came of a send that was not answered within its bound.
var errSlow = errors.New("no answer in time")

// land finishes the calls that are answered or cannot be. It returns the others,
// and whether they must wait a while. With slow, the commands are not looked at:
// go-redis still has them.
func (f *flight) land(slow error) (again []*call, wait bool) {
	f.pass()
	l := f.l
	received := l.now()
	for _, b := range f.bundles {
		reply, err := []any(nil), slow
		if err == nil {
			reply, err = b.cmd.Slice()
		}
		if err == nil {
			l.read(b, reply, f.sent, received)
		}
		for _, c := range b.calls {
			var v verdict
			if err != nil {
				v = l.judgeError(c, err)
			} else if v = l.judge(c); v == verdictFinal && c.err == nil {
				var lost error
				if c.short, lost = f.confirm.result(l, c); lost != nil {
					v = l.judgeError(c, lost)
				}
			}
			if v == verdictFinal {
				l.finish(c, c.err)
				continue
			}
			wait = wait || v == verdictWait
			again = append(again, c)
		}
	}
	return again, wait
}

// regroup makes the next flight of calls that are to be sent again; nil if there
// are none, or others fly on with them.
func (f *flight) regroup(again []*call, wait bool) *flight {
	if len(again) == 0 {
		return nil
	}
	l := f.l
	wait = l.initShards(again) || wait
	next := &flight{l: l, calls: again, node: f.node}
	if wait && !l.sleep(next.pause()) {
		return next // to finish them
	}
	cluster, ok := l.rdb.(*redis.ClusterClient)
	if !ok || !wait && !slices.ContainsFunc(again, func(c *call) bool { return c.redirect }) {
		return next
	}
	cluster.ReloadState(l.dead) // their slots may be on other nodes by now
	l.spread(again, func(node redis.UniversalClient, calls []*call) {
		go l.fly(&flight{l: l, calls: calls, node: node})
	})
	return nil
}

// pause is how long to wait before the next send.
func (f *flight) pause() time.Duration {
	var d time.Duration
	for _, c := range f.calls {
		if c.pause == nil {
			c.pause = newPause()
		}
		d = max(d, c.pause.NextBackOff())
	}
	return d
}

// initShards sets up the shards of calls that found them new. It returns whether
// that failed for now.
func (l *Locker) initShards(calls []*call) (wait bool) {
	done := make(map[int]error)
	for _, c := range calls {
		if !c.fresh {
			continue
		}
		err, known := done[c.shard]
		if !known {
			err = l.initShard(c.shard)
			done[c.shard] = err
		}
		c.err, c.fresh = err, err != nil
		c.hopeless = err != nil && !errors.Is(err, ErrUnavailable)
		wait = wait || err != nil && !c.hopeless
	}
	return wait
}

// newPause is the backoff between sends: 2 ms to 250 ms, without an end of its own.
func newPause() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(2*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(250*time.Millisecond),
		backoff.WithMaxElapsedTime(0))
}

func (l *Locker) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.dead.Done():
		return false
	}
}
