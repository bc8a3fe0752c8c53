package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// variable makes the test binary a worker process; it holds the spec.
const variable = "LOCKINGWORKER_TORTURE"

// A spec says what a process does, until it gets SIGTERM.
type spec struct {
	Number      int
	Seed        uint64
	Addresses   []string // of the server; of the nodes of a cluster; or of the sentinel
	Kind        string   // server, cluster or sentinel
	Master      string   // the sentinel's name for it
	Namespace   string
	Journal     string // its file
	Ledger      string // where the ledger listens
	Keys        int
	Clients     int // goroutines
	Long        int // one in so many attempts works for longer than its lease
	TTL         time.Duration
	MaxAttempts int
	Die         point // where it kills itself; "": nowhere
	DieAt       int   // the how-manieth time it is there
}

// A point is a place in the life of an attempt at which a process may die.
type point string

const (
	beforeClaim  point = "before a claim is sent"
	afterClaim   point = "before the answer to a claim is read"
	afterGrant   point = "after a grant"
	duringWork   point = "during the work"
	beforeSettle point = "before a settlement is sent"
	afterSettle  point = "before the answer to a settlement is read"
)

var (
	holding = []point{afterGrant, duringWork, beforeSettle, afterSettle}
	points  = append([]point{beforeClaim, afterClaim}, holding...)
)

// A process is the inside of a worker process. It tries its luck at one job after
// another: each key's runs, in their order.
type process struct {
	spec     spec
	journal  *journal
	ledger   *ledgerClient
	locker   *lock.Locker
	worker   *worker.Worker
	ids      atomic.Int64
	visits   atomic.Int64
	settling atomic.Bool // what is sent now may be a settlement
	stopping context.Context

	stale [crowd]int64 // by plain lock: a fence that was unlocked; crowdOfLocks alone uses it
	past  [crowd]int64 // by crowded job: a fence that was settled; crowdOfJobs alone uses it

	mu        sync.Mutex
	runs      []int      // by key: which run is next
	crowdRuns [crowd]int // the same of crowded jobs
}

// beProcess is a worker process, if this is to be one, and returns its exit code.
func beProcess() (code int, is bool) {
	text := os.Getenv(variable)
	if text == "" {
		return 0, false
	}
	if err := runProcess(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

func runProcess(text string) error {
	p := &process{}
	if err := json.Unmarshal([]byte(text), &p.spec); err != nil {
		return err
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p.stopping, p.runs = stopping, make([]int, p.spec.Keys)
	var err error
	if p.journal, err = openJournal(p.spec.Journal); err != nil {
		return err
	}
	if p.ledger, err = dialLedger(p.spec.Ledger, p.spec.Number); err != nil {
		return err
	}
	redis.SetLogger(silence{})
	client := p.client()
	defer func() { _ = client.Close() }()
	p.locker, err = lock.New(client, lock.Config{Namespace: p.spec.Namespace, Owner: ownerName(p.spec.Number)})
	if err != nil {
		return err
	}
	p.worker, err = worker.New(p.locker, worker.Config{TTL: p.spec.TTL, MaxAttempts: p.spec.MaxAttempts, RetryDelay: worker.HandOver})
	if err != nil {
		return err
	}
	go p.watchClock()
	var clients sync.WaitGroup
	for n := range p.spec.Clients {
		clients.Go(func() { p.work(rand.New(rand.NewPCG(p.spec.Seed, uint64(n)))) })
	}
	clients.Go(p.lockUp)
	clients.Wait()
	if err := p.locker.Close(); err != nil {
		return err
	}
	p.journal.write(step{Kind: stepEnd})
	return nil
}

// silence takes what go-redis says of every connection that is refused.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func (p *process) client() redis.UniversalClient {
	switch p.spec.Kind {
	case "cluster":
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: p.spec.Addresses})
		c.OnNewNode(func(n *redis.Client) { n.AddHook(deathHook{p}) })
		return c
	case "sentinel":
		c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: p.spec.Master, SentinelAddrs: p.spec.Addresses})
		c.AddHook(deathHook{p})
		return c
	default:
		c := redis.NewClient(&redis.Options{Addr: p.spec.Addresses[0]})
		c.AddHook(deathHook{p})
		return c
	}
}

// watchClock notes when the process did not run: what it had to do then, it could not.
func (p *process) watchClock() {
	const beat = 10 * time.Millisecond
	for last := now(); ; {
		time.Sleep(beat)
		t := now()
		if late := t - last - beat.Microseconds(); late > 2*beat.Microseconds() {
			p.journal.write(step{At: t, Kind: stepGap, From: last})
		}
		last = now()
	}
}

// at is a point of a life; the process may end here.
func (p *process) at(here point) {
	if p.spec.Die == here && int(p.visits.Add(1)) == p.spec.DieAt {
		p.journal.write(step{Kind: stepDying, Error: string(here)})
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// work is one client: a job at a time.
func (p *process) work(rng *rand.Rand) {
	for p.stopping.Err() == nil {
		key, run := p.next(rng)
		job := worker.Job{Key: key, Run: worker.Run{Name: run, Retention: time.Hour}}
		if rng.IntN(20) == 0 {
			p.state(rng, job)
		}
		g := p.acquire(rng, job)
		if g != nil {
			p.attempt(rng, job, g)
		}
	}
}

// next returns a key, and mostly its first run that is not over as far as this
// process knows; sometimes the one after that, or one of those before.
func (p *process) next(rng *rand.Rand) (key, run string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := rng.IntN(p.spec.Keys)
	n := p.runs[k]
	switch i := rng.IntN(10); { // runs have no order
	case i < 2:
		n++
	case i < 3:
		n = max(n-1-rng.IntN(5), 0)
	}
	return keyName(k), strconv.Itoa(n)
}

func keyName(k int) string { return "key " + strconv.Itoa(k) }

// over notes that a run is over.
func (p *process) over(job worker.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.runs {
		if keyName(k) == job.Key && strconv.Itoa(p.runs[k]) == job.Run.Name {
			p.runs[k]++
		}
	}
}

// call notes a call and returns its context and what notes its return.
func (p *process) call(parent context.Context, s step, d time.Duration) (context.Context, func(step)) {
	ctx, cancel := context.WithTimeout(parent, d)
	end := p.calls([]step{s}, d)
	return ctx, func(r step) {
		cancel()
		end([]step{r})
	}
}

// calls notes a call for several things, and returns what notes its return.
func (p *process) calls(steps []step, d time.Duration) func([]step) {
	for i := range steps {
		s := &steps[i]
		s.Kind, s.ID, s.At = stepCall, int(p.ids.Add(1)), now()
		s.Deadline = s.At + d.Microseconds()
	}
	p.journal.write(steps...)
	return func(returns []step) {
		for i := range returns {
			r := &returns[i]
			r.Kind, r.ID, r.At = stepReturn, steps[i].ID, now()
			if r.err != nil {
				r.Error = r.err.Error()
				if !isTyped(r.err) {
					p.broken("%s of %q: no caller can tell what this error is: %v", steps[i].Op, steps[i].Key, r.err)
				}
			}
		}
		p.journal.write(returns...)
	}
}

// broken notes something that must not be.
func (p *process) broken(format string, args ...any) {
	p.journal.write(step{Kind: stepBroken, Error: fmt.Sprintf(format, args...)})
}

// outcomeOf is what an error that tells of no outcome says of it. What Redis itself
// has answered, and to nothing else that was sent, was not executed.
func outcomeOf(err error) string {
	var answer redis.Error
	if errors.As(err, &answer) && !errors.Is(err, lock.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return denied
	}
	return unknown
}

// isTyped tells whether a caller can find out with errors.Is what an error means, or
// Redis has refused what its user may not do.
func isTyped(err error) bool {
	for _, is := range []error{
		context.DeadlineExceeded, context.Canceled, lock.ErrUnavailable, lock.ErrCorruptState, lock.ErrOutcomeUnknown, lock.ErrLeaseLost,
		lock.ErrReleased, lock.ErrHeld, lock.ErrNotHeld, lock.ErrTooEarly, worker.ErrSettled,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var answer redis.Error
	return errors.As(err, &answer) && (strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "NOAUTH") ||
		strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "ACL failure") || strings.Contains(err.Error(), "can't "))
}

// between returns a random duration.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

func (p *process) state(rng *rand.Rand, job worker.Job) {
	ctx, end := p.call(p.stopping, step{Op: "state", Key: job.Key, Run: job.Run.Name}, between(rng, 200*time.Millisecond, 2*time.Second))
	info, err := p.worker.State(ctx, job)
	if err != nil {
		end(step{Result: refused, err: err})
		return
	}
	end(step{Result: told, State: info.State.String(), Number: info.Attempt})
}

func (p *process) acquire(rng *rand.Rand, job worker.Job) *worker.Grant {
	wait := between(rng, 500*time.Millisecond, 8*time.Second)
	ctx, end := p.call(p.stopping, step{Op: "acquire", Key: job.Key, Run: job.Run.Name}, wait)
	g, err := p.worker.Acquire(ctx, job)
	x := (*worker.ExhaustedError)(nil)
	switch {
	case err == nil:
		a := g.Attempt()
		fence := a.Fence
		context.AfterFunc(g.Context(), func() {
			if errors.Is(context.Cause(g.Context()), lock.ErrLeaseLost) {
				p.journal.write(step{Kind: stepLost, Fence: fence})
			}
		})
		end(step{Result: granted, Fence: fence, Number: a.Number})
		p.at(afterGrant)
		return g
	case errors.Is(err, worker.ErrDone):
		end(step{Result: done})
		p.over(job)
	case errors.As(err, &x):
		end(step{Result: exhausted, Number: x.Attempts})
		p.over(job)
	default:
		end(step{Result: refused, err: err})
		time.Sleep(5 * time.Millisecond) // where Redis refuses at once
	}
	return nil
}

// attempt works: it writes to the ledger when it begins and when it ends, whether
// it has the lease still or not, and settles in any case. So a process that was
// paused does just what a fence is there for.
func (p *process) attempt(rng *rand.Rand, job worker.Job, g *worker.Grant) {
	fence := g.Attempt().Fence
	p.ledger.write(job.Key, fence)
	takes := between(rng, time.Millisecond, 40*time.Millisecond)
	if rng.IntN(p.spec.Long) == 0 {
		takes = between(rng, p.spec.TTL, 2*p.spec.TTL) // it needs renewals
	}
	select {
	case <-time.After(takes):
	case <-g.Context().Done():
	case <-p.stopping.Done():
	}
	p.at(duringWork)
	p.ledger.write(job.Key, fence)

	end := "done"
	switch n := rng.IntN(20); {
	case n < 6:
		end = "failed"
	case n == 6:
		end = "exhausted"
	case n < 10:
		end = "returned"
	}
	for {
		switch p.settle(rng, job, g, end, false) {
		case unknown, denied:
			time.Sleep(5 * time.Millisecond)
			continue
		case lost: // it is told so without Redis being asked; so ask
			p.settle(rng, job, g, end, true)
		}
		return
	}
}

var ends = map[string]lock.End{"done": lock.Done, "failed": lock.Failed, "exhausted": lock.Exhausted, "returned": lock.Returned}

// settle ends an attempt; straight at the lock it does so without regard to
// whether the lease was lost, as a process without a clock would.
func (p *process) settle(rng *rand.Rand, job worker.Job, g *worker.Grant, how string, straight bool) string {
	s := step{Op: "settle", Key: job.Key, Run: job.Run.Name, Fence: g.Attempt().Fence, End: how}
	ctx, end := p.call(context.Background(), s, between(rng, 300*time.Millisecond, 3*time.Second))
	p.settling.Store(true)
	var err error
	switch {
	case straight:
		_, err = p.locker.Jobs().Settle(ctx, lock.Settlement{
			Grant: lock.Result{Resource: job.Key, Owner: p.locker.Owner(), Fence: s.Fence},
			ID:    lock.JobID{Key: job.Key, Run: job.Run.Name}, End: ends[how], Retention: job.Run.Retention,
		})
	case how == "done":
		err = g.Done(ctx)
	case how == "failed":
		err = g.Fail(ctx, errors.New("it was to fail"))
	case how == "exhausted":
		err = g.Fail(ctx, worker.Permanent(errors.New("it was to fail for good")))
	default:
		err = g.GiveBack(ctx)
	}
	p.settling.Store(false)
	r := step{Result: unknown}
	switch {
	case err == nil:
		r.Result = settled
	case errors.Is(err, lock.ErrLeaseLost):
		r.Result = lost
	default:
		r.Result, r.err = outcomeOf(err), err
	}
	end(r)
	if r.Result == settled && (how == "done" || how == "exhausted") {
		p.over(job)
	}
	return r.Result
}
