package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// handOffs lets many lockers, each with clients of its own, contend for one key. Each holds it for a millisecond, releases
// it and asks again at once.
func handOffs(ctx context.Context, b *bench, id string) error {
	libs := b.among(nameOurs, nameRedislock, nameRedsync, nameRueidislock)
	for _, n := range pick(b, []int{2, 20, 100, 1000}, []int{2, 20, 100}) {
		if err := handOffsOf(ctx, b, id, n, libs); err != nil {
			return err
		}
	}
	r := b.report
	r.atMost(id, "gap p50 at 20, as a multiple of rueidislock's", 0.8, r.ratio(id, size(20), gapP50, nameRueidislock))
	r.atMost(id, "gap p99 at 100, ms", 2, r.median(id, size(100), gapP99, nameOurs)/1000)
	r.atMost(id, "gap p99 at 1,000, ms", 3, r.median(id, size(1000), gapP99, nameOurs)/1000)
	r.atMost(id, "commands at 1,000, as a multiple of those at 20", 1.2,
		r.median(id, size(1000), commandsEach, nameOurs)/r.median(id, size(20), commandsEach, nameOurs))
	r.atMost(id, "commands at 1,000", 28, r.median(id, size(1000), commandsEach, nameOurs))
	return nil
}

const (
	gapP50       = "gap p50"
	gapP99       = "gap p99"
	commandsEach = "commands per grant"
	callsEach    = "script calls per grant"
	moved        = "grants to another"
	stuck        = "stuck"
)

func handOffsOf(ctx context.Context, b *bench, id string, n int, libs []library) error {
	return b.alternate(ctx, libs, func(l library) error {
		c := &crowd{server: b.server, n: n, grants: pick(b, 1000, 100), bound: pick(b, 10*time.Second, 5*time.Second)}
		if err := c.run(ctx, l); err != nil {
			return err
		}
		r := b.report
		r.add(id, size(n), gapP50, "µs", l.name, micros(quantile(c.gaps, 0.5)))
		r.add(id, size(n), gapP99, "µs", l.name, micros(quantile(c.gaps, 0.99)))
		r.add(id, size(n), commandsEach, "", l.name, float64(total(c.commands))/float64(c.counted))
		r.add(id, size(n), callsEach, "", l.name, float64(total(c.commands, "eval", "evalsha"))/float64(c.counted))
		r.add(id, size(n), moved, "%", l.name, 100*float64(len(c.gaps))/float64(c.counted))
		r.add(id, size(n), stuck, "lockers", l.name, float64(c.stuck))
		if l.name == nameOurs && c.stuck > 0 {
			r.breaksf(id, "%d of %d lockers never got the lock", c.stuck, n)
		}
		return nil
	})
}

// A crowd is many lockers that contend for one key.
type crowd struct {
	server *server
	n      int           // lockers
	grants int           // how many are measured
	bound  time.Duration // of the measurement

	mu       sync.Mutex
	warm     int // grants before those that are measured
	last     int // who had it
	released time.Time
	over     bool // measured; everybody who waits gets it once more and goes
	patience *time.Timer
	giveUp   context.CancelFunc

	counted  int             // grants that were measured
	gaps     []time.Duration // from the call that releases to the grant of another
	commands map[string]int64
	stuck    int // who did not get it in the end
}

const (
	contested = "bench:contested"
	holdTime  = time.Millisecond

	// patience is for how long, when all is measured and nobody holds the lock for any time, nobody may get it while some
	// wait: they are stuck.
	patience = 3 * time.Second
)

func (c *crowd) run(ctx context.Context, l library) (err error) {
	clients, closeAll, err := openMany(l, place{addr: c.server.addr, small: true}, c.n)
	if err != nil {
		return err
	}
	defer closeAll()

	// The first holds it until all others wait.
	first, err := clients[0].wait(ctx, contested)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	c.giveUp = cancel
	var lockers sync.WaitGroup
	errs := make(chan error, c.n)
	join := func(i int) {
		lockers.Go(func() {
			if err := c.contend(bounded, i, clients[i]); err != nil {
				errs <- err
			}
		})
	}
	for i := 1; i < c.n; i++ {
		join(i)
	}
	if err := sleep(ctx, 300*time.Millisecond+time.Duration(c.n)*2*time.Millisecond); err != nil {
		return err
	}
	deadline := time.AfterFunc(c.bound, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.finish(bounded)
	})
	defer deadline.Stop()
	c.mu.Lock()
	c.released, c.last, c.warm = time.Now(), 0, min(c.n, 20)
	c.mu.Unlock()
	if err := first(ctx); err != nil {
		return err
	}
	join(0)
	lockers.Wait()
	close(errs)
	for e := range errs {
		if bounded.Err() == nil || ctx.Err() != nil {
			return e
		}
		c.stuck++ // it failed because the time was over
	}
	if c.commands == nil || c.counted == 0 {
		return fmt.Errorf("%d lockers: not one grant was measured", c.n)
	}
	return nil
}

// contend takes and releases the lock until all is measured.
func (c *crowd) contend(ctx context.Context, i int, cl client) error {
	for {
		release, err := cl.wait(ctx, contested)
		if err != nil {
			return err
		}
		if c.granted(ctx, i) {
			return release(context.WithoutCancel(ctx))
		}
		time.Sleep(holdTime)
		c.mu.Lock()
		c.released = time.Now()
		c.mu.Unlock()
		if err := release(ctx); err != nil {
			return err
		}
	}
}

// granted notes a grant; true if it was one too many.
func (c *crowd) granted(ctx context.Context, i int) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		c.patience.Reset(patience)
		return true
	case c.warm > 0:
		if c.warm--; c.warm == 0 && c.server.resetCommands(ctx) != nil {
			c.finish(ctx)
		}
	default:
		c.counted++
		if i != c.last {
			c.gaps = append(c.gaps, now.Sub(c.released))
		}
		if c.counted == c.grants {
			c.finish(ctx)
		}
	}
	c.last = i
	return false
}

// finish ends the measurement.
func (c *crowd) finish(ctx context.Context) {
	if !c.over {
		c.over = true
		c.commands, _ = c.server.commands(ctx)
		c.patience = time.AfterFunc(patience, c.giveUp)
	}
}

// openMany opens n clients of a library.
func openMany(l library, at place, n int) ([]client, func(), error) {
	clients := make([]client, n)
	var g errgroup.Group
	g.SetLimit(64)
	for i := range clients {
		g.Go(func() (err error) {
			c, err := l.open(at)
			if err == nil {
				clients[i] = c
			}
			return err
		})
	}
	err := g.Wait()
	closeAll := func() {
		var g errgroup.Group
		g.SetLimit(64)
		for _, c := range clients {
			if c != nil {
				g.Go(func() error {
					c.close()
					return nil
				})
			}
		}
		_ = g.Wait()
	}
	if err != nil {
		closeAll()
		return nil, nil, errors.Join(errors.New("clients could not be opened"), err)
	}
	return clients, closeAll, nil
}
