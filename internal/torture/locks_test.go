package torture

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// Beside those of jobs a process makes calls for plain locks, and calls that do not
// wait. Their operations are
//
//	lock     one resource of a TryLock or TryLockAll  granted, held, refused, unknown
//	hold     a Hold, which waits                      granted, refused, unknown
//	extend   by fence                                 kept, lost, unknown
//	unlock   by fence                                 released, lost, unknown
//	release  of what was held                         released, lost, unknown
//	owner    one resource of an Owners                told, unknown
const (
	held     = "held"     // refused, and told by which fence
	kept     = "kept"     // extended
	released = "released" // unlocked
)

const (
	crowd  = 8 // goroutines that call at the same moment
	series = 9 // locks of a collection, with names so long that they are a group of the expiry index
)

func crowdName(n int) string  { return "crowd " + strconv.Itoa(n) }                     // jobs, each claimed by itself
func plainName(n int) string  { return "plain " + strconv.Itoa(n) }                     // locks, each called for by itself
func seriesName(n int) string { return strings.Repeat("series ", 9) + strconv.Itoa(n) } // locks, called for together
func heldName(n int) string   { return "hold " + strconv.Itoa(n) }

// isJob tells whether a key is a job's.
func isJob(key string) bool {
	return strings.HasPrefix(key, "key") || strings.HasPrefix(key, "crowd ")
}

// bundled tells whether a script call does what several callers have asked for: no
// caller asks for two of these.
func bundled(command []string) bool {
	if !strings.HasPrefix(strings.ToLower(command[0]), "eval") {
		return false
	}
	first := ""
	for _, arg := range command {
		if single := strings.HasPrefix(arg, "plain ") || strings.HasPrefix(arg, "crowd "); !single || arg == first {
			continue
		}
		if first != "" {
			return true
		}
		first = arg
	}
	return false
}

// ending finds the fence of a settlement and how it ends the attempt.
var ending = regexp.MustCompile(`^[0-8]\d{18} [dfxr]$`)

// endsAttempts tells whether a script call settles attempts.
func endsAttempts(command []string) bool {
	for i := range command[:len(command)-1] {
		if ending.MatchString(command[i] + " " + command[i+1]) {
			return strings.HasPrefix(strings.ToLower(command[0]), "eval")
		}
	}
	return false
}

// lockUp is the process's plain locks, until it is to stop.
func (p *process) lockUp() {
	var all sync.WaitGroup
	for n, do := range []func(*rand.Rand){p.crowdOfJobs, p.crowdOfLocks, p.serial, p.hold} {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(p.spec.Seed, uint64(1000+n)))
			for p.stopping.Err() == nil {
				do(rng)
				time.Sleep(between(rng, 0, 20*time.Millisecond))
			}
		})
	}
	all.Wait()
}

// together has all of these calls made at the same moment, and waits for them.
func together(calls []func()) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for _, call := range calls {
		all.Go(func() {
			<-start
			call()
		})
	}
	close(start)
	all.Wait()
}

// crowdOfJobs claims an attempt at each of some jobs, by itself, and settles what it
// got, all at the same moment.
func (p *process) crowdOfJobs(rng *rand.Rand) {
	granted := make([]*lock.JobResult, crowd)
	ids := make([]lock.JobID, crowd)
	var calls []func()
	for n := range crowd {
		id := lock.JobID{Key: crowdName(n), Run: strconv.Itoa(p.crowdRun(n))}
		ids[n] = id
		calls = append(calls, p.prepare(rng, step{Op: "acquire", Key: id.Key, Run: id.Run}, func(ctx context.Context) step {
			rs, err := p.locker.Jobs().Claim(ctx, lock.JobClaim{ID: id, TTL: p.spec.TTL, Retention: time.Hour, MaxAttempts: p.spec.MaxAttempts})
			switch {
			case err == nil:
				granted[n] = &rs[0]
				return step{Result: "granted", Fence: rs[0].Grant.Fence, Number: rs[0].Job.Attempt}
			case errors.Is(err, lock.ErrJobDone):
				p.crowdOver(n, id)
				return step{Result: done}
			case errors.Is(err, lock.ErrJobExhausted):
				p.crowdOver(n, id)
				return step{Result: exhausted, Number: rs[0].Job.Attempt}
			default:
				return step{Result: refused, err: err}
			}
		}))
	}
	together(calls)
	for range 20 { // until it is known what became of each
		calls = nil
		was := slices.Clone(granted)
		for n, g := range granted {
			if g == nil {
				if past := p.past[n]; past != 0 && rng.IntN(8) == 0 { // with the fence of an attempt that is over
					calls = append(calls, p.prepare(rng, step{Op: "settle", Key: ids[n].Key, Run: ids[n].Run, Fence: past, End: "done"}, func(ctx context.Context) step {
						_, err := p.locker.Jobs().Settle(ctx, lock.Settlement{Grant: lock.Result{Resource: ids[n].Key, Owner: p.locker.Owner(), Fence: past}, ID: ids[n], End: lock.Done, Retention: time.Hour})
						return ended(err, settled)
					}))
				}
				continue
			}
			how := p.howOf(n, g)
			calls = append(calls, p.prepare(rng, step{Op: "settle", Key: g.Job.ID.Key, Run: g.Job.ID.Run, Fence: g.Grant.Fence, End: how}, func(ctx context.Context) step {
				_, err := p.locker.Jobs().Settle(ctx, lock.Settlement{Grant: g.Grant, ID: g.Job.ID, End: ends[how], Retention: time.Hour})
				r := ended(err, settled)
				if r.Result != unknown && r.Result != denied {
					granted[n] = nil
				}
				if r.Result == settled && (how == "done" || how == "exhausted") {
					p.crowdOver(n, g.Job.ID)
				}
				return r
			}))
		}
		together(calls)
		left := 0
		for n, g := range was {
			if granted[n] != nil {
				left++
			} else if g != nil {
				p.past[n] = g.Grant.Fence
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// howOf is how a crowd's attempt is to end; it is the same each time it is asked.
func (p *process) howOf(n int, g *lock.JobResult) string {
	rng := rand.New(rand.NewPCG(p.spec.Seed+uint64(n), uint64(g.Grant.Fence)))
	return []string{"done", "done", "done", "failed", "failed", "returned", "exhausted"}[rng.IntN(7)]
}

func (p *process) crowdRun(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crowdRuns[n]
}

func (p *process) crowdOver(n int, id lock.JobID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strconv.Itoa(p.crowdRuns[n]) == id.Run {
		p.crowdRuns[n]++
	}
}

// ended is what came of a call that ends or extends something.
func ended(err error, fine string) step {
	switch {
	case err == nil:
		return step{Result: fine}
	case errors.Is(err, lock.ErrLeaseLost) || errors.Is(err, lock.ErrNotHeld) || errors.Is(err, lock.ErrHeld):
		return step{Result: lost}
	default:
		return step{Result: outcomeOf(err), err: err}
	}
}

// prepare notes a call, and returns what makes it and notes its return.
func (p *process) prepare(rng *rand.Rand, s step, do func(ctx context.Context) step) func() {
	s.Loose = true
	d := between(rng, 200*time.Millisecond, 2*time.Second)
	ctx, end := p.call(context.Background(), s, d)
	return func() { end(do(ctx)) }
}

// crowdOfLocks has one lock each tried, looked at, extended and unlocked, all at the
// same moment; some with a fence that was another's.
func (p *process) crowdOfLocks(rng *rand.Rand) {
	fences := make([]int64, crowd)
	do := func(op string) {
		var calls []func()
		for n := range crowd {
			c := lock.Claim{Resource: plainName(n), TTL: between(rng, p.spec.TTL/4, p.spec.TTL), Owner: p.locker.Owner(), Fence: fences[n]}
			stale := p.stale[n]
			if c.Fence == 0 && (op == "extend" || op == "unlock") {
				if c.Fence = stale; stale == 0 {
					continue
				}
			}
			calls = append(calls, p.prepare(rng, step{Op: op, Key: c.Resource, Fence: c.Fence}, func(ctx context.Context) step {
				switch op {
				case "lock":
					rs, err := p.locker.TryLock(ctx, c)
					r := locked(rs, err, 0)
					fences[n] = r.grantedFence()
					return r
				case "owner":
					rs, err := p.locker.Owners(ctx, c.Resource)
					return owned(rs, err, 0)
				case "extend":
					_, err := p.locker.Extend(ctx, c)
					return ended(err, kept)
				default:
					_, err := p.locker.Unlock(ctx, c)
					return ended(err, released)
				}
			}))
			if op == "unlock" {
				p.stale[n] = c.Fence
			}
		}
		together(calls)
	}
	do("lock")
	do("owner")
	if rng.IntN(3) == 0 {
		do("extend")
	}
	if rng.IntN(20) == 0 {
		time.Sleep(p.spec.TTL) // they run out
	}
	do("unlock")
}

// locked is what came of the i-th resource of a call that locks.
func locked(rs lock.Results, err error, i int) step {
	if len(rs) <= i {
		return step{Result: unknown, err: err}
	}
	switch r := rs[i]; {
	case r.Err == nil:
		return step{Result: granted, Fence: r.Fence, Owner: r.Owner}
	case errors.Is(r.Err, lock.ErrHeld) && r.Fence != 0:
		return step{Result: held, Fence: r.Fence, Owner: r.Owner}
	case errors.Is(r.Err, lock.ErrHeld) || errors.Is(r.Err, lock.ErrAborted):
		return step{Result: refused}
	default:
		return step{Result: outcomeOf(r.Err), err: r.Err}
	}
}

func owned(rs lock.Results, err error, i int) step {
	if len(rs) <= i || rs[i].Err != nil {
		return step{Result: unknown, err: err}
	}
	return step{Result: told, Fence: rs[i].Fence, Owner: rs[i].Owner}
}

func (s step) grantedFence() int64 {
	if s.Result == granted {
		return s.Fence
	}
	return 0
}

// serial locks, extends and unlocks collections, all or each for itself.
func (p *process) serial(rng *rand.Rand) {
	from := rng.IntN(2) // all of them, or all but one
	var claims []lock.Claim
	for n := from; n < series; n++ {
		claims = append(claims, lock.Claim{Resource: seriesName(n), TTL: p.spec.TTL, Owner: p.locker.Owner()})
	}
	all := p.spec.Kind != "cluster" && rng.IntN(2) == 0
	rs := p.collection(rng, "lock", claims, func(ctx context.Context) (lock.Results, error) {
		if all {
			return p.locker.TryLockAll(ctx, claims...)
		}
		return p.locker.TryLock(ctx, claims...)
	})
	got := rs.OK()
	if all && len(got) > 0 && len(got) < len(claims) {
		p.broken("TryLockAll granted %d of %d", len(got), len(claims))
	}
	if len(got) == 0 {
		return
	}
	claims = got.Claims()
	if rng.IntN(2) == 0 {
		p.collection(rng, "extend", claims, func(ctx context.Context) (lock.Results, error) { return p.locker.Extend(ctx, claims...) })
	}
	if len(claims) > 1 && rng.IntN(3) == 0 { // not in the composition in which they were granted
		claims = claims[1:]
	}
	p.collection(rng, "unlock", claims, func(ctx context.Context) (lock.Results, error) { return p.locker.Unlock(ctx, claims...) })
}

// collection makes a collection call, and notes it for each of its resources.
func (p *process) collection(rng *rand.Rand, op string, claims []lock.Claim, do func(ctx context.Context) (lock.Results, error)) lock.Results {
	d := between(rng, 200*time.Millisecond, 2*time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	steps := make([]step, len(claims))
	for i, c := range claims {
		steps[i] = step{Op: op, Key: c.Resource, Fence: c.Fence, Loose: true}
	}
	end := p.calls(steps, d)
	rs, err := do(ctx)
	answers := make([]step, len(claims))
	for i := range claims {
		switch op {
		case "lock":
			answers[i] = locked(rs, err, i)
		case "extend":
			answers[i] = endedOf(rs, err, i, kept)
		default:
			answers[i] = endedOf(rs, err, i, released)
		}
	}
	end(answers)
	return rs
}

func endedOf(rs lock.Results, err error, i int, fine string) step {
	if len(rs) <= i {
		return step{Result: unknown, err: err}
	}
	return ended(rs[i].Err, fine)
}

// hold waits for a lock, has it renewed, sometimes for longer than its lease, and
// releases it.
func (p *process) hold(rng *rand.Rand) {
	s := step{Op: "hold", Key: heldName(rng.IntN(2))}
	ctx, end := p.call(p.stopping, s, between(rng, 500*time.Millisecond, 8*time.Second))
	le, err := p.locker.Hold(ctx, lock.Claim{Resource: s.Key, TTL: p.spec.TTL})
	if err != nil {
		end(step{Result: unknown, err: err})
		return
	}
	fence := le.Fence()
	context.AfterFunc(le.Context(), func() {
		if errors.Is(context.Cause(le.Context()), lock.ErrLeaseLost) {
			p.journal.write(step{Kind: stepLost, Fence: fence})
		}
	})
	end(step{Result: granted, Fence: fence, Owner: le.Owner()})
	p.at(afterGrant)
	p.ledger.write(s.Key, fence)
	takes := between(rng, time.Millisecond, 40*time.Millisecond)
	if rng.IntN(p.spec.Long) == 0 {
		takes = between(rng, p.spec.TTL, 2*p.spec.TTL)
	}
	select {
	case <-time.After(takes):
	case <-le.Context().Done():
	case <-p.stopping.Done():
	}
	p.ledger.write(s.Key, fence)
	ctx, end = p.call(context.Background(), step{Op: "release", Key: s.Key, Fence: fence}, between(rng, 300*time.Millisecond, 3*time.Second))
	end(ended(le.Release(ctx), released))
}
