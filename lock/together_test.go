package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// storm has callers make their calls at the same time, several times over.
func storm(callers, times int, call func(caller, n int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for c := range callers {
		all.Go(func() {
			<-start
			for n := range times {
				call(c, n)
			}
		})
	}
	close(start)
	all.Wait()
}

// scriptCalls is how many scripts went through a proxy.
func scriptCalls(p *redistest.Proxy) int { return p.Commands()["evalsha"] + p.Commands()["eval"] }

// distant makes a Locker whose server is some ms away, so that calls are under
// way together; all scripts are loaded.
func distant(t *testing.T) (*lock.Locker, *redistest.Proxy) {
	t.Helper()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	ctx := bounded(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
	must[lock.Results](t)(l.Extend(ctx, rs.Claims()...))
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	job := claimedJob(ctx, t, l, lock.JobID{Key: "warm up"}, time.Minute)
	must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{ID: job.Job.ID, Grant: job.Grant, End: lock.Returned}))
	p.Delay(4 * time.Millisecond)
	p.ResetCounters()
	return l, p
}

// TestCallsMadeTogetherTravelTogether: single calls of many goroutines need far
// fewer script calls, and each gets what is its own.
func TestCallsMadeTogetherTravelTogether(t *testing.T) {
	t.Parallel()
	l, p := distant(t)
	ctx := bounded(t)
	const callers, times = 60, 5
	var fences sync.Map
	storm(callers, times, func(c, n int) {
		claim := lock.Claim{Resource: fmt.Sprint("r", c), Owner: fmt.Sprint("owner", c), TTL: time.Duration(10+c%2) * time.Minute}
		rs, err := l.TryLock(ctx, claim)
		if err != nil {
			t.Errorf("caller %d: %v", c, err)
			return
		}
		r := rs[0]
		if r.Resource != claim.Resource || r.Owner != claim.Owner || r.TTL != claim.TTL {
			t.Errorf("caller %d was granted %+v", c, r)
		}
		if _, twice := fences.LoadOrStore(r.Fence, c); twice {
			t.Errorf("fence %d was granted twice", r.Fence)
		}
		if now, err := l.Owners(ctx, claim.Resource); err != nil || now[0].Owner != claim.Owner || now[0].Fence != r.Fence || now[0].TTL > claim.TTL || now[0].TTL < claim.TTL-30*time.Second {
			t.Errorf("caller %d holds %+v, found %+v, %v", c, r, now, err)
		}
		if more, err := l.Extend(ctx, lock.Claim{Resource: r.Resource, Owner: r.Owner, Fence: r.Fence, TTL: time.Hour}); err != nil || more[0].TTL != time.Hour {
			t.Errorf("caller %d extended to %+v, %v", c, more, err)
		}
		stale := rs.Claims()
		stale[0].Fence--
		if _, err := l.Unlock(ctx, stale...); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("caller %d: unlock with another's fence: %v", c, err)
		}
		if _, err := l.Unlock(ctx, rs.Claims()...); err != nil {
			t.Errorf("caller %d: %v", c, err)
		}
	})
	if made, sent := callers*times*5, scriptCalls(p); sent > made/4 {
		t.Errorf("%d calls were sent as %d", made, sent)
	}
}

// TestJobsTogetherAreCountedOnce: attempts that are claimed and settled together
// are counted and remembered each on its own.
func TestJobsTogetherAreCountedOnce(t *testing.T) {
	t.Parallel()
	l, p := distant(t)
	ctx := bounded(t)
	const callers, times = 60, 3
	storm(callers, times, func(c, n int) {
		id := lock.JobID{Key: fmt.Sprint("job", c), Run: fmt.Sprint("run", c%7)}
		rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: fmt.Sprint("owner", c), MaxAttempts: times})
		if err != nil || rs[0].Job.ID != id || rs[0].Job.Attempt != n+1 || rs[0].Grant.Owner != fmt.Sprint("owner", c) {
			t.Errorf("caller %d: attempt %d is %+v, %v", c, n, rs, err)
			return
		}
		end := lock.Failed
		if n == times-1 {
			end = lock.Done
		}
		if _, err := l.Jobs().Settle(ctx, lock.Settlement{ID: id, Grant: rs[0].Grant, End: end, Cause: id.Key}); err != nil {
			t.Errorf("caller %d: settle %d: %v", c, n, err)
		}
	})
	if made, sent := callers*times*2, scriptCalls(p); sent > made/4 {
		t.Errorf("%d calls were sent as %d", made, sent)
	}
	for c := range callers {
		id := lock.JobID{Key: fmt.Sprint("job", c), Run: fmt.Sprint("run", c%7)}
		info := must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, id))[0]
		if info.State != lock.JobDone || info.Attempt != times || info.Cause != id.Key {
			t.Errorf("%v is %+v", id, info)
		}
	}
}

// TestOneResourceIsGrantedOnceToCallersTogether: of callers who ask for the same
// resource at the same time one gets it, and the others are told who.
func TestOneResourceIsGrantedOnceToCallersTogether(t *testing.T) {
	t.Parallel()
	l, _ := distant(t)
	ctx := bounded(t)
	busy, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	for i := range 4 { // so that the callers' calls gather
		others.Go(func() {
			for busy.Err() == nil {
				_, _ = l.Owners(busy, fmt.Sprint("other", i))
			}
		})
	}
	defer others.Wait()
	defer cancel()
	for round := range 5 {
		resource := fmt.Sprint("wanted", round)
		var granted atomic.Int64
		var mu sync.Mutex
		var winner string
		var told []string
		storm(40, 1, func(c, _ int) {
			owner := fmt.Sprint("owner", c)
			rs, err := l.TryLock(ctx, lock.Claim{Resource: resource, Owner: owner})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				granted.Add(1)
				winner = owner
			case errors.Is(err, lock.ErrHeld):
				told = append(told, rs[0].Owner)
			default:
				t.Errorf("caller %d: %v", c, err)
			}
		})
		if granted.Load() != 1 || len(told) != 39 || slices.ContainsFunc(told, func(o string) bool { return o != winner }) {
			t.Errorf("round %d: %d grants, holder %q, told %q", round, granted.Load(), winner, told)
		}
	}
}

// TestLostReplyOfCallsTogether: each of them asks again with its own nonce, and
// gets what it had been granted; an attempt is counted once.
func TestLostReplyOfCallsTogether(t *testing.T) {
	t.Parallel()
	l, p := distant(t)
	ctx := bounded(t)
	loss := p.DropReplies(redistest.Named("evalsha"), 3, redistest.ThenHang)
	defer p.Heal()
	storm(40, 2, func(c, n int) {
		id := lock.JobID{Key: fmt.Sprint("job", c, "-", n)}
		rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, MaxAttempts: 9})
		if err != nil || rs[0].Job.Attempt != 1 {
			t.Errorf("caller %d: %+v, %v", c, rs, err)
		}
		one, err := l.TryLock(ctx, lock.Claim{Resource: fmt.Sprint("r", c, "-", n), Owner: "me"})
		if err == nil {
			_, err = l.Unlock(ctx, one.Claims()...)
		}
		if err != nil {
			t.Errorf("caller %d: %v", c, err)
		}
	})
	receive(t, "the loss", loss.Done())
}

// TestACallThatLeavesItsCompanions: the claim of a caller who left while it was
// under way with others is given back, theirs are not.
func TestACallThatLeavesItsCompanions(t *testing.T) {
	t.Parallel()
	l, p := distant(t)
	ctx := bounded(t)
	p.Delay(150 * time.Millisecond)
	storm(40, 1, func(c, _ int) {
		mine := ctx
		if c%4 == 0 {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			mine = short
		}
		lease, err := l.TryHold(mine, lock.Claim{Resource: fmt.Sprint("r", c)})
		if c%4 == 0 {
			if !isDeadline(err) {
				t.Errorf("caller %d who left: %v", c, err)
			}
			return
		}
		if err != nil || lease.Context().Err() != nil {
			t.Errorf("caller %d: %v", c, err)
		}
	})
	p.Delay(0)
	eventually(t, "what was granted to those who left to be given back", func() bool {
		held := 0
		for _, err := range l.List(ctx, lock.Query{Prefix: "r"}) {
			if err != nil {
				return false
			}
			held++
		}
		return held == 30
	})
}

// TestResetOfManyJobs: Reset's calls are never made into one.
func TestResetOfManyJobs(t *testing.T) {
	t.Parallel()
	l, _ := distant(t)
	ctx := bounded(t)
	ids := make([]lock.JobID, 120)
	for i := range ids {
		ids[i] = lock.JobID{Key: fmt.Sprint("job", i)}
	}
	wantErr(t, l.Jobs().Reset(ctx, ids...), nil)
	storm(20, 2, func(c, _ int) {
		if err := l.Jobs().Reset(ctx, ids[c], ids[100+c]); err != nil {
			t.Errorf("caller %d: %v", c, err)
		}
	})
}
