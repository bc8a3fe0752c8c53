package lock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

const (
	// sendTime bounds one send of a call; after it the call is sent again on
	// another connection.
	sendTime = time.Second
	// giveUp bounds a call whose context has no deadline.
	giveUp = 30 * time.Second
	// offerTime is how long an offer stands (P).
	offerTime = time.Second
)

// A call is one script call for one shard. It is sent until it is answered, its
// caller leaves, or its time is over; always with the same arguments, so that a
// claim that had been executed finds its own nonce.
type call struct {
	script *script
	shard  int
	args   []any
	names  []string // resources, and a text for each: follow args
	texts  []string
	bound  time.Duration // of one send; 0 is sendTime
	until  time.Duration // by the Locker's clock: no send after it
	dated  bool          // its first argument is the time of its first send, if that was not answered
	once   bool          // must not be executed after its caller left: it has a not-after
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
	began      time.Duration // the first send
	err        error
	load       bool // send the source, not the SHA
	redirect   bool // let the cluster client follow the slot
	late       int  // how often it was too late
	hopeless   bool // it cannot succeed: err says why
	fresh      bool // its shard is to be set up before the next send

	state atomic.Int32 // waiting for its answer, answered, or left by its caller
}

// mayHaveGranted tells whether a claim may have got what its caller was not told of.
func (c *call) mayHaveGranted() bool { return c.err == nil || c.unanswered || c.broken }

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
	until := l.now() + giveUp
	if d, ok := ctx.Deadline(); ok {
		until = min(until, l.now()+time.Until(d))
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
	l.start(calls, done)
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
		if c.err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), c.err)
		}
		return c.err
	}
	if l.closing.Err() != nil {
		return ErrClosed
	}
	return context.Cause(ctx)
}

// finish lets go of a call: to its caller, or to its orphan.
func (l *Locker) finish(c *call, done chan<- *call, err error) {
	c.err = err
	if c.state.CompareAndSwap(callWaiting, callAnswered) {
		done <- c
	} else if c.orphan != nil {
		c.orphan(c)
	}
	if c.orphan != nil {
		l.chores.done()
	}
}

// start sends the calls, one pipeline per node, from goroutines of its own.
func (l *Locker) start(calls []*call, done chan<- *call) {
	if _, ok := l.rdb.(*redis.ClusterClient); !ok {
		go l.fly(calls, l.rdb, done)
		return
	}
	go func() {
		nodes := make(map[redis.UniversalClient][]*call)
		for _, c := range calls {
			n, err := l.nodeOf(c.shard)
			if err != nil {
				go l.fly([]*call{c}, nil, done)
				continue
			}
			nodes[n] = append(nodes[n], c)
		}
		for n, cs := range nodes {
			go l.fly(cs, n, done)
		}
	}()
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

// fly sends calls to a node (nil: find it) until each is finished.
func (l *Locker) fly(calls []*call, node redis.UniversalClient, done chan<- *call) {
	var pause backoff.BackOff
	for {
		again, wait := l.send(calls, node, done)
		if len(again) == 0 {
			return
		}
		wait = l.initShards(again) || wait
		if wait {
			if pause == nil {
				pause = newPause()
			}
			if !l.sleep(pause.NextBackOff()) {
				for _, c := range again {
					l.finish(c, done, ErrClosed)
				}
				return
			}
			if cluster, ok := l.rdb.(*redis.ClusterClient); ok {
				cluster.ReloadState(l.dead)
			}
		}
		calls = again
		if _, ok := l.rdb.(*redis.ClusterClient); !ok {
			continue
		}
		if len(calls) > 1 { // their slots may be on different nodes by now
			for _, c := range calls[1:] {
				go l.fly([]*call{c}, nil, done)
			}
			calls = calls[:1]
		}
		node = nil
	}
}

// initShards sets up the shards of calls that found them new. It returns whether
// that failed for now.
func (l *Locker) initShards(calls []*call) (wait bool) {
	for _, c := range calls {
		if !c.fresh {
			continue
		}
		if c.err = l.initShard(c.shard); c.err == nil {
			c.fresh = false
		} else if errors.Is(c.err, ErrUnavailable) {
			wait = true
		} else {
			c.hopeless = true
		}
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

// send sends calls once, in one pipeline, and finishes those that are answered
// or cannot be. It returns those to send again, and whether to wait before.
func (l *Locker) send(calls []*call, node redis.UniversalClient, done chan<- *call) (again []*call, wait bool) {
	sent := l.now()
	bound := sendTime
	cmds := make([]redis.Cmder, 0, len(calls))
	live := make([]*call, 0, len(calls))
	for _, c := range calls {
		switch left := c.until - sent; {
		case c.state.Load() == callLeft:
			l.finish(c, done, c.err)
			continue
		case c.hopeless:
			l.finish(c, done, c.err)
			continue
		case left <= 0 || l.dead.Err() != nil:
			if c.err == nil {
				c.err = context.DeadlineExceeded
			}
			l.finish(c, done, fmt.Errorf("%w: %w", ErrUnavailable, c.err))
			continue
		case c.bound > 0:
			bound = min(bound, c.bound)
		}
		live = append(live, c)
	}
	if len(live) == 0 {
		return nil, false
	}
	for _, c := range live {
		if c.began == 0 {
			c.began = sent
		}
		cmds = append(cmds, l.command(c, sent+bound))
	}
	redirect := live[0].redirect
	if node == nil && !redirect {
		n, err := l.nodeOf(live[0].shard)
		if err != nil {
			for _, c := range live {
				c.err = err
			}
			return live, true
		}
		node = n
	}
	if redirect {
		node = l.rdb
	}
	transmit(l.bounded(node, bound), cmds, bound)
	received := l.now()
	for i, c := range live {
		verdict := l.judge(c, cmds[i].(scriptCmd), sent, received)
		switch verdict {
		case verdictFinal:
			l.finish(c, done, c.err)
		case verdictWait:
			wait = true
			again = append(again, c)
		case verdictAgain:
			again = append(again, c)
		}
	}
	return again, wait
}

// A scriptCmd is a command that go-redis must not send again by itself.
type scriptCmd struct{ *redis.Cmd }

// NoRetry tells go-redis so.
func (scriptCmd) NoRetry() bool { return true }

// command builds what is sent for c. limit is until when this send may be executed.
func (l *Locker) command(c *call, limit time.Duration) redis.Cmder {
	s := &l.shards[c.shard]
	args := make([]any, 0, len(c.args)+len(c.names)+len(c.texts)+15)
	if c.load {
		args = append(args, "eval", c.script.source)
	} else {
		args = append(args, "evalsha", c.script.sha)
	}
	if c.script.local {
		args = append(args, "1", s.keys[locksKey])
		return scriptCmd{redis.NewCmd(context.Background(), append(args, c.args...)...)}
	}
	args = append(args, "6")
	for i := range s.keys {
		args = append(args, s.keys[i])
	}
	args = append(args, l.header[0], s.number, l.header[1], l.notAfter(c, limit), offerMillis, l.header[2])
	args = append(args, c.args...)
	for i := range c.names { // pointers, which need no memory of their own
		args = append(args, &c.names[i])
	}
	for i := range c.texts {
		args = append(args, &c.texts[i])
	}
	return scriptCmd{redis.NewCmd(context.Background(), args...)}
}

var offerMillis = strconv.FormatInt(int64(offerTime/time.Millisecond), 10)

// notAfter returns the time after which this send must not be executed, and
// notes it. While the server's clock is not known it is long past: the script
// then only tells the time.
func (l *Locker) notAfter(c *call, limit time.Duration) string {
	if !c.once {
		return "0"
	}
	at, known := l.shards[c.shard].clock.redis(min(limit, c.until))
	if !known {
		return "1"
	}
	c.limit = at
	return strconv.FormatInt(at, 10)
}

// bounded returns the node's client with reads and writes bounded, so that a
// connection that hangs is given up after bound, not after go-redis's 3 s.
func (l *Locker) bounded(node redis.UniversalClient, bound time.Duration) redis.UniversalClient {
	client, ok := node.(*redis.Client)
	if !ok {
		return node
	}
	type key struct {
		client *redis.Client
		bound  time.Duration
	}
	for p := time.Millisecond; ; p *= 2 { // few different bounds: each has a client
		if p >= bound {
			bound = p
			break
		}
	}
	k := key{client, bound}
	if c, ok := l.nodes.Load(k); ok {
		return c.(*redis.Client)
	}
	c, _ := l.nodes.LoadOrStore(k, client.WithTimeout(bound))
	return c.(*redis.Client)
}

// transmit sends the commands in one pipeline; their errors tell what came of it.
func transmit(node redis.UniversalClient, cmds []redis.Cmder, bound time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if len(cmds) == 1 {
		_ = node.Process(ctx, cmds[0])
		return
	}
	pipe := node.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd)
	}
	_, _ = pipe.Exec(ctx)
}

type verdict uint8

const (
	verdictFinal verdict = iota // finished, with or without error
	verdictAgain                // send again at once
	verdictWait                 // send again after a pause
)

// judge looks at what came of one send of c.
func (l *Locker) judge(c *call, cmd scriptCmd, sent, received time.Duration) verdict {
	reply, err := cmd.Slice()
	if err != nil {
		return l.judgeError(c, err)
	}
	c.reply, c.sent = reply, sent
	stamp, err := strconv.ParseInt(c.str(1), 10, 64)
	if err != nil {
		c.err = fmt.Errorf("%w: reply without time", ErrCorruptState)
		return verdictFinal
	}
	c.stamp = stamp
	l.shards[c.shard].clock.learn(sent, received, stamp)
	switch status := c.str(0); status {
	case "ok":
		c.err = nil
		return verdictFinal
	case "late":
		c.err = fmt.Errorf("executed too late: %w", context.DeadlineExceeded)
		if c.late++; c.late > 3 {
			return verdictWait
		}
		return verdictAgain
	case "new":
		c.fresh = true
		return verdictAgain
	case "shards":
		c.err = fmt.Errorf("%w: Config.Shards is %d, but namespace %q has %q", ErrShardMismatch, l.cfg.Shards, l.cfg.Namespace, c.str(2))
		return verdictFinal
	default:
		c.err = fmt.Errorf("%w: %s", ErrCorruptState, l.shards[c.shard].keys[metaKey])
		return verdictFinal
	}
}
