package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A process is a program that works: a client, a Locker and Workers of its own.
type process struct {
	w      *world
	number int
	owner  string
	rng    *rand.Rand // for what it decides, on one goroutine
	client *redis.Client
	locker *lock.Locker
	life   context.Context // ends when it is to end, in whatever way
	end    context.CancelCauseFunc
	ended  chan struct{} // closed when nothing of it runs any more
	calls  sync.WaitGroup

	// Under the world's lock.
	conns   map[*conn]struct{}
	dead    bool
	going   bool          // it is being closed
	paused  chan struct{} // closed when it runs again; nil: it does
	wokenAt time.Time     // when it was resumed last
}

// spawn starts a process that works.
func (w *world) spawn(slot int) {
	p := w.process()
	w.mu.Lock()
	w.slots[slot] = p
	w.mu.Unlock()
	w.load(p)
}

// process starts one that does nothing yet.
func (w *world) process() *process {
	w.mu.Lock()
	w.born++
	p := &process{
		w: w, number: w.born, owner: fmt.Sprintf("process-%d", w.born),
		rng: rand.New(rand.NewPCG(w.seed, uint64(w.born))), conns: map[*conn]struct{}{}, ended: make(chan struct{}),
	}
	w.mu.Unlock()
	p.life, p.end = context.WithCancelCause(context.Background())
	p.client = redis.NewClient(&redis.Options{
		Addr:                     "server:6379",
		Dialer:                   func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx, p) },
		Protocol:                 2 + p.rng.IntN(2),
		PoolSize:                 10, // go-redis would ask how many processors there are
		ContextTimeoutEnabled:    p.rng.IntN(2) == 0,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	var err error
	p.locker, err = lock.New(p.client, lock.Config{Namespace: "sim", Owner: p.owner, TTL: w.plan.lease, Publish: w.plan.publish, Shards: w.plan.shards})
	if err != nil {
		w.t.Error(err)
		panic(err)
	}
	return p
}

// running returns when the process is not paused.
func (p *process) running() {
	for {
		p.w.mu.Lock()
		paused := p.paused
		p.w.mu.Unlock()
		if paused == nil {
			return
		}
		<-paused
	}
}

// runningOr also returns when ctx ends.
func (p *process) runningOr(ctx context.Context) {
	for ctx.Err() == nil {
		p.w.mu.Lock()
		paused := p.paused
		p.w.mu.Unlock()
		if paused == nil {
			return
		}
		select {
		case <-paused:
		case <-ctx.Done():
		}
	}
}

// pause stops the process at its next read or write, for so long.
func (p *process) pause(d time.Duration) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead || p.paused != nil {
		return
	}
	w.count("pauses")
	p.paused = make(chan struct{})
	w.after(d, p.resume)
}

// resume lets it run again. The world's lock is held.
func (p *process) resume() {
	if p.paused != nil {
		close(p.paused)
		p.paused, p.wokenAt = nil, time.Now()
		for _, c := range p.connections() {
			for _, data := range c.held {
				c.send(data)
			}
			c.held = nil
		}
	}
}

// connections returns those that are open, the oldest first. The world's lock is held.
func (p *process) connections() []*conn {
	return slices.SortedFunc(maps.Keys(p.conns), func(a, b *conn) int { return a.id - b.id })
}

// crash kills the process: its connections die, and nothing more is sent. What is
// under way arrives. Its goroutines are left to find that out.
func (p *process) crash() {
	w := p.w
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		return
	}
	w.count("crashes")
	p.dead = true
	for _, c := range p.connections() {
		c.held = nil
	}
	p.resume()
	for _, c := range p.connections() {
		c.in.Fail(errCrashed)
		c.up = later(c.up, w.weather.delay(w.rng))
		w.after(time.Until(c.up), c.hangUp)
	}
	w.mu.Unlock()
	p.end(errCrashed)
	go p.leave()
}

// close ends the process as a good one does: it cancels its calls, waits for them,
// and closes its Locker.
func (p *process) close() {
	p.w.mu.Lock()
	p.going = true
	p.w.mu.Unlock()
	p.end(errClosing)
	p.leave()
}

var errClosing = errors.New("the process is being closed")

func (p *process) leave() {
	p.w.mu.Lock()
	dead := p.dead
	p.w.mu.Unlock()
	if !dead {
		p.calls.Wait()
	}
	_ = p.locker.Close()
	p.calls.Wait()
	p.w.mu.Lock()
	p.dead = true
	p.w.mu.Unlock()
	_ = p.client.Close()
	close(p.ended)
}

// newWorker makes a Worker for one call.
func (p *process) newWorker(cfg worker.Config) *worker.Worker {
	w, err := worker.New(p.locker, cfg)
	if err != nil {
		panic(err)
	}
	return w
}
