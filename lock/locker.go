package lock

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Locker locks resources for the callers of one process. It is safe for
// concurrent use, and one is enough for a process. All its calls take their
// time from Redis; its own clock only bounds how long they wait.
type Locker struct {
	cfg     Config
	rdb     redis.UniversalClient
	id      string // this Locker among those that wait: 11 characters
	shards  []shard
	publish any   // "1", or "", for the scripts
	plain   []any // the arguments of a lock call as most are
	base    time.Time
	awake   time.Duration // what suspended() said at base
	slept   atomic.Int64

	closing context.Context // ends with ErrClosed when Close is called
	close   context.CancelCauseFunc
	dead    context.Context // ends when Close has cleaned up; then nothing is sent any more
	die     context.CancelFunc
	chores  group // what Close waits for: waiters leaving, grants given back
	loops   group // keeper, subscription, observers

	heeds       bool          // the client heeds contexts: it comes back by their deadline
	readTimeout time.Duration // of the client
	gates       gates
	watchdog    watchdog
	keeper      *keeper
	queue       *queue
	wire        *wire
	observers   *observers
}

// Stats tells what a Locker is busy with.
type Stats struct {
	Leases        int           // leases that are kept
	Waiters       int           // calls that wait
	RenewalLag    time.Duration // how late the last batch of renewals was answered, counted from when it was due
	RenewalErrors int           // batches of renewals that failed so far; their leases are renewed again until they are lost
}

// New makes a Locker on a client, which stays the caller's. It sends nothing.
// All that is wrong with cfg is joined into one error. A *redis.Ring is
// refused: its servers would each grant the same lock.
func New(rdb redis.UniversalClient, cfg Config) (*Locker, error) {
	cfg, err := cfg.complete(rdb)
	if err := errors.Join(checkClient(rdb), err); err != nil {
		return nil, err
	}
	l := &Locker{cfg: cfg, rdb: rdb, id: randomID(), shards: newShards(cfg.Namespace, cfg.Shards), base: time.Now(), awake: suspended()}
	l.plain = []any{"each", millis(cfg.TTL), single, ""}
	l.publish = ""
	if cfg.Publish {
		l.publish = "1"
	}
	l.closing, l.close = context.WithCancelCause(context.Background())
	l.dead, l.die = context.WithCancel(context.Background())
	if c, ok := rdb.(*redis.Client); ok {
		o := c.Options() // with a timeout below 0 it sets no deadlines at all
		l.heeds = o.ContextTimeoutEnabled && o.ReadTimeout >= 0 && o.WriteTimeout >= 0
	}
	l.readTimeout = readTimeout(rdb)
	l.gates.byNode = make(map[redis.UniversalClient]*gate)
	l.keeper = newKeeper(l)
	l.queue = newQueue(l)
	l.wire = newWire(l)
	l.observers = newObservers(l)
	return l, nil
}

func checkClient(rdb redis.UniversalClient) error {
	none := rdb == nil
	switch c := rdb.(type) {
	case *redis.Client:
		none = c == nil
	case *redis.ClusterClient:
		none = c == nil
	case *redis.Ring:
		return invalid("a redis.Ring spreads keys over servers that know nothing of each other")
	}
	if none {
		return invalid("client is nil")
	}
	return nil
}

// Close ends the waiting and the keeping: calls that wait return ErrClosed,
// leases end with cause ErrClosed and run out by themselves. It takes waiters
// out of their queues, for which it waits two seconds at most, and leaves the
// client open. Every later call returns ErrClosed. Close may be called again.
func (l *Locker) Close() error {
	l.close(ErrClosed)
	l.chores.wait(2 * time.Second)
	l.die()
	l.loops.wait(2 * time.Second)
	return nil
}

// Owner returns who this Locker is where a claim names nobody: Config.Owner.
func (l *Locker) Owner() string { return l.cfg.Owner }

// Stats tells what the Locker is busy with now.
func (l *Locker) Stats() Stats {
	s := l.keeper.stats()
	s.Waiters = l.queue.size()
	return s
}

// now is the Locker's clock: monotonic, with the time added that the machine was
// seen to sleep.
func (l *Locker) now() time.Duration {
	return time.Since(l.base) + time.Duration(l.slept.Load())
}

// noticeSleep adds the time that the machine has slept to the clock.
func (l *Locker) noticeSleep() {
	if slept := int64(suspended() - l.awake); slept > l.slept.Load() {
		l.slept.Store(slept)
	}
}

// ready tells why a call cannot begin: no context, an ended one, or closed.
func (l *Locker) ready(ctx context.Context) error {
	if ctx == nil {
		return invalid("context is nil")
	}
	if l.closing.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Nonces and waiters are random: 64 bits in 11 characters.
func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func appendNonce(dst []byte) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], mathrand.Uint64())
	return base64.RawURLEncoding.AppendEncode(dst, b[:])
}

// A group is a WaitGroup that can be waited for with a bound; it takes nobody in
// when that is over.
type group struct {
	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{}
}

// add takes in one that will call done.
func (g *group) add() {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
}

// start runs f on a goroutine of its own, unless the group is closed.
func (g *group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	go func() {
		defer g.done()
		f()
	}()
	return true
}

func (g *group) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.empty != nil {
		g.closed = true
		close(g.empty)
		g.empty = nil
	}
}

// wait closes the group when it is empty, or after the longest time.
func (g *group) wait(most time.Duration) {
	g.mu.Lock()
	if g.closed = g.n == 0; g.closed {
		g.mu.Unlock()
		return
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-empty:
	case <-t.C:
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
	}
}

// String names the Locker without its client, whose options hold a password.
func (l *Locker) String() string {
	return fmt.Sprintf("lock.Locker(%q, %d shards)", l.cfg.Namespace, l.cfg.Shards)
}
