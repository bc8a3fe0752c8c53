package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// crewVariable makes the test binary a crew; it holds the spec.
const crewVariable = "LOCKINGWORKER_CREW"

// A crewSpec says what a crew does until its standard input ends.
type crewSpec struct {
	Number    int
	Seed      uint64
	Addresses []string // of the cluster's nodes
	Namespace string
	Shards    int
	Journal   string        // its file
	Workers   int           // goroutines
	Keys      int           // of jobs, for all crews together
	Held      int           // plain locks that are held all the time
	TTL       time.Duration // lease time of what is held, of jobs and of locks that are waited for
}

// A crew is a process in which many workers do at once whatever a Locker and a
// Worker can do, on the same jobs and locks as those of other crews. It has one
// Locker, as a program has, with go-redis's own defaults.
type crew struct {
	spec    crewSpec
	journal *crewJournal
	locker  *lock.Locker
	stop    chan struct{} // closed when nothing new is to be begun

	mu      sync.Mutex
	runs    []int // by key: which run is next, as far as is known here
	ops     map[string]int
	met     map[string]int // errors that a command was answered with, before they were dealt with
	least   time.Duration  // the least that was left of a lease that is held, before it was renewed
	stalled time.Duration  // the longest time for which this process did not run
}

// crewPatience bounds every call: longer than any slot stays half-way, or any
// failover takes. What Redis does not serve in that time is an error.
const crewPatience = time.Minute

// beCrew is a crew, if this process is to be one, and returns its exit code.
func beCrew() (code int, is bool) {
	text := os.Getenv(crewVariable)
	if text == "" {
		return 0, false
	}
	if err := runCrew(text); err != nil {
		fmt.Fprintln(os.Stderr, "crew:", err)
		return 1, true
	}
	return 0, true
}

func runCrew(text string) error {
	c := &crew{stop: make(chan struct{}), ops: map[string]int{}, met: map[string]int{}}
	if err := json.Unmarshal([]byte(text), &c.spec); err != nil {
		return err
	}
	c.runs, c.least = make([]int, c.spec.Keys), c.spec.TTL
	file, err := os.OpenFile(c.spec.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	c.journal = &crewJournal{file: file}
	redis.SetLogger(silence{})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.spec.Addresses})
	defer func() { _ = client.Close() }()
	client.OnNewNode(func(n *redis.Client) { n.AddHook(crewHook{c}) })
	c.locker, err = lock.New(client, lock.Config{Namespace: c.spec.Namespace, Shards: c.spec.Shards, Owner: "crew-" + strconv.Itoa(c.spec.Number)})
	if err != nil {
		return err
	}
	leases, err := c.hold()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(c.stop)
	}()
	watched := make(chan struct{})
	go c.watch(leases, watched)
	if c.spec.Number == 1 {
		if err := c.observe(watched); err != nil {
			return err
		}
	}
	var workers sync.WaitGroup
	for n := range c.spec.Workers {
		workers.Go(func() { c.work(rand.New(rand.NewPCG(c.spec.Seed, uint64(n)))) })
	}
	workers.Wait()
	c.sweep()
	close(watched)
	c.release(leases)
	if err := c.locker.Close(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.journal.write(crewNote{Kind: noteEnd, At: now(), Ops: c.ops, Met: c.met, Least: c.least, Stalled: c.stalled})
	return nil
}

// A crewLease is a lock that is held all the time.
type crewLease struct {
	*lock.Lease
	asked, told int64
}

// hold takes locks to be held until the end, spread over all shards.
func (c *crew) hold() ([]crewLease, error) {
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	claims := make([]lock.Claim, c.spec.Held)
	for i := range claims {
		claims[i] = lock.Claim{Resource: fmt.Sprintf("held by %d: %d", c.spec.Number, i), Owner: c.locker.Owner(), TTL: c.spec.TTL}
	}
	asked := now()
	rs, err := c.locker.TryLock(ctx, claims...)
	if err != nil {
		return nil, err
	}
	kept, err := c.locker.Keep(ctx, rs...)
	if err != nil {
		return nil, err
	}
	leases := make([]crewLease, len(kept))
	for i, le := range kept {
		leases[i] = crewLease{le, asked, now()}
		context.AfterFunc(le.Context(), func() {
			if errors.Is(context.Cause(le.Context()), lock.ErrLeaseLost) {
				c.journal.write(crewNote{Kind: noteLost, Resource: le.Resource(), Fence: le.Fence(), Asked: asked, Told: leases[i].told, At: now()})
			}
		})
	}
	return leases, nil
}

// watch notes how little was ever left of what is held, and for how long this
// process did not run.
func (c *crew) watch(leases []crewLease, end <-chan struct{}) {
	const beat = 20 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		late := time.Since(last) - beat
		least := c.spec.TTL
		for _, le := range leases {
			if le.Context().Err() == nil {
				least = min(least, time.Until(le.Deadline()))
			}
		}
		c.mu.Lock()
		c.stalled, c.least = max(c.stalled, late), min(c.least, least)
		c.mu.Unlock()
	}
}

// observe watches what happens in the namespace. That must not end before it is to.
func (c *crew) observe(end <-chan struct{}) error {
	ctx, cancel := context.WithCancel(context.Background())
	events, err := c.locker.Watch(ctx)
	if err != nil {
		cancel()
		return fmt.Errorf("watch: %w", err)
	}
	go func() {
		<-end
		cancel()
	}()
	go func() {
		defer cancel()
		for e := range events {
			c.count("event " + e.Kind.String())
		}
		if ctx.Err() == nil {
			c.trouble("Watch", now(), 0, errors.New("it has ended"))
		}
	}()
	return nil
}

// release ends what was held: Redis must have known it all the time.
func (c *crew) release(leases []crewLease) {
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	names := make([]string, len(leases))
	for i, le := range leases {
		names[i] = le.Resource()
	}
	asked := now()
	rs, err := c.locker.Owners(ctx, names...)
	c.trouble("Owners", asked, 0, err)
	for i, le := range leases {
		if rs[i].Err == nil && rs[i].Fence != le.Fence() {
			c.trouble("Owners", asked, le.told, fmt.Errorf("%w: held, but has fence %d and not %d", lock.ErrLeaseLost, rs[i].Fence, le.Fence()))
		}
		until := now()
		err := le.Release(ctx)
		c.trouble("Release", until, le.told, err)
		end := "released"
		if err != nil {
			end = "unknown"
		}
		c.count("Release")
		c.journal.write(crewNote{Kind: noteTenure, Resource: le.Resource(), Fence: le.Fence(), Asked: le.asked, Told: le.told, Until: until, End: end, At: now()})
	}
}

func (c *crew) count(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[op]++
}

// A crewHook counts what the nodes answer that is no result, and what becomes of
// connections.
type crewHook struct{ c *crew }

func (h crewHook) meet(err error) {
	if err == nil || errors.Is(err, redis.Nil) {
		return
	}
	var answer redis.Error
	text := err.Error()
	word, _, _ := strings.Cut(text, " ")
	switch {
	case strings.Contains(text, "non local key"):
		word = "non local key"
	case strings.Contains(text, "unknown subcommand"): // of a newer Redis: go-redis tries when it connects
		return
	case errors.As(err, &answer):
	case errors.Is(err, syscall.ECONNREFUSED):
		word = "connection refused"
	case errors.Is(err, os.ErrDeadlineExceeded):
		word = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		word = "connection lost"
	case errors.Is(err, context.Canceled): // the Locker has closed
		return
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.met[word]++
}

func (h crewHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h crewHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.meet(err)
		return err
	}
}

func (h crewHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.meet(cmd.Err())
		}
		return err
	}
}

// crewKinds are the errors that are told apart.
var crewKinds = []error{
	lock.ErrOutcomeUnknown, lock.ErrLeaseLost, lock.ErrNotHeld, lock.ErrHeld, lock.ErrCorruptState, lock.ErrShardMismatch,
	context.DeadlineExceeded, lock.ErrUnavailable,
}

func crewKind(err error) string {
	for _, k := range crewKinds {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	return "other"
}

// trouble notes an error that a call returned; told is when the grant was known
// that it is about, if it is about one.
func (c *crew) trouble(op string, asked, told int64, err error) {
	if err == nil {
		return
	}
	var batch *lock.BatchError
	if !errors.As(err, &batch) {
		c.journal.write(crewNote{Kind: noteTrouble, Op: op, Asked: asked, Told: told, At: now(), Error: crewKind(err), Text: err.Error()})
		return
	}
	noted := map[string]bool{}
	for _, r := range batch.Results.Refused() {
		if k := crewKind(r.Err); !noted[k] {
			noted[k] = true
			c.journal.write(crewNote{Kind: noteTrouble, Op: op, Resource: r.Resource, Asked: asked, Told: told, At: now(), Error: k, Text: r.Err.Error()})
		}
	}
}

func (c *crew) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}
