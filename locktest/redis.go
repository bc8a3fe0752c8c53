package locktest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/lockingworker/lockingworker/internal/memnet"
	"github.com/lockingworker/lockingworker/lock"
)

// Redis is one server, and what befalls it. Its methods may be called from any goroutine.
type Redis struct {
	tb       testing.TB
	server   *miniredis.Miniredis
	commands *server.Server // the server's
	client   *redis.Client  // the program's
	own      *redis.Client  // for Take and Locker: nothing befalls it
	served   sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{} // the server's ends
	ended   bool
	lockers []*lock.Locker
	takers  map[place]*lock.Locker // on own
	faults  faults
}

// New starts an empty server, which ends with the test.
func New(tb testing.TB) *Redis {
	tb.Helper()
	r := &Redis{tb: tb, server: miniredis.NewMiniRedis(), conns: map[net.Conn]struct{}{}, takers: map[place]*lock.Locker{}}
	r.server.ClockTTL(true)
	first, err := r.server.Dial() // starts it without a port
	if err != nil {
		tb.Fatalf("locktest: %v", err)
	}
	_ = first.Close()
	r.commands = r.server.Server()
	r.commands.SetPreHook(r.loses)
	r.client, r.own = redis.NewClient(r.options(true)), redis.NewClient(r.options(false))
	tb.Cleanup(r.end)
	return r
}

// Client returns the server's client, always the same. Give it to what your program calls with its own, lock.New for one.
// It is closed with the test.
func (r *Redis) Client() *redis.Client { return r.client }

// Options returns those of Client, for a client of your own that has others: change what you like but the Dialer, and close it
// before the test ends. They are the defaults of go-redis, except for what does not go well with bubbles: looking up names, and
// waiting for a connection, both of which leave something in global variables that is deadly in another bubble. So there
// are many connections.
func (r *Redis) Options() *redis.Options { return r.options(true) }

func (r *Redis) options(exposed bool) *redis.Options {
	return &redis.Options{
		Addr:                     memnet.Addr{}.String(),
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return r.connect(exposed) },
		PoolSize:                 4096,
		DisableIdentity:          true, // two commands less
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (r *Redis) connect(exposed bool) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: net.ErrClosed}
	}
	client, server := memnet.Pipe()
	r.conns[server] = struct{}{}
	r.served.Go(func() {
		r.serve(server, exposed)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, server)
	})
	return client, nil
}

// Locker makes a Locker on Client, as another process of the cluster would: make as many as the test has processes. Its
// namespace is set up already, so that faults befall what the test is about. It is closed with the test. A config that
// lock.New refuses, or another number of shards than the namespace has, fails the test at once.
func (r *Redis) Locker(cfg lock.Config) *lock.Locker {
	r.tb.Helper()
	locker, err := lock.New(r.client, cfg)
	if err != nil {
		r.tb.Fatalf("locktest: %v", err)
	}
	r.mu.Lock()
	r.lockers = append(r.lockers, locker)
	r.mu.Unlock()
	if err := r.setUp(place{cfg.Namespace, cfg.Shards}); err != nil {
		r.tb.Fatalf("locktest: %v", err)
	}
	return locker
}

// end stops everything.
func (r *Redis) end() {
	r.mu.Lock()
	r.faults = faults{} // or those who leave a queue would try again
	lockers := r.lockers
	r.mu.Unlock()
	for _, l := range lockers {
		_ = l.Close()
	}
	_ = r.client.Close()
	_ = r.own.Close()
	r.mu.Lock()
	r.ended = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.server.Close() // also ends what a blocking command waits for
	r.served.Wait()
}
