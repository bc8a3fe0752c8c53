package lock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestG2G10StallOfTenSeconds: Redis stands still for ten seconds, clients have
// their default options. Calls with deadlines of 500 ms, all of them again and
// again, return within 600 ms, and for how long the process itself stood still. Leases that end meanwhile are told so in time, and
// longer ones live on. When Redis runs on, those who left have left nothing behind.
func TestG2G10StallOfTenSeconds(t *testing.T) {
	t.Parallel()
	const (
		stall    = 10 * time.Second
		deadline = 500 * time.Millisecond
		bound    = 600 * time.Millisecond
	)
	s := redistest.Start(t, redistest.Own)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	l := newLocker(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry}) // what is left behind stays
	fresh := newLocker(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry})
	keeper := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	about := holders(t, l)
	manyConnections(t, l)
	brief := must[*lock.Lease](t)(keeper.Hold(ctx, lock.Claim{Resource: "held briefly", TTL: 3 * time.Second}))
	long := must[*lock.Lease](t)(keeper.Hold(ctx, lock.Claim{Resource: "held for long", TTL: time.Minute}))
	claim := lock.JobClaim{ID: lock.JobID{Key: "held for a job"}, TTL: 3 * time.Second, Retention: time.Hour, MaxAttempts: 3}
	work, _, err := keeper.Jobs().Await(ctx, claim)
	wantErr(t, err, nil)

	stood := redistest.Standstill(t)
	s.Stop()
	began := time.Now()
	ended := make(chan string, 2)
	watch := func(name string, end context.Context, until func() time.Time) {
		<-end.Done()
		if late := time.Since(until()); !errors.Is(context.Cause(end), lock.ErrLeaseLost) || late > noise || until().After(began.Add(3*time.Second)) {
			t.Errorf("the context of %s ended %v after its deadline, %v after the stall began: %v", name, late, time.Since(began), context.Cause(end))
		}
		ended <- name
	}
	go watch("the lease", brief.Context(), brief.Deadline)
	go watch("the attempt", work.Context(), work.Deadline)

	var mu sync.Mutex
	slowest := time.Duration(0)
	call := func(c caller, l *lock.Locker) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		began := time.Now()
		err := c.call(ctx, l)
		took := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		slowest = max(slowest, took)
		if !isDeadline(err) {
			t.Errorf("%s returned after %v: %v", c.name, took, err)
		}
	}
	calls := 0
	for round := 0; time.Since(began) < stall-bound; round++ {
		var all sync.WaitGroup
		for _, c := range append(claimers(fmt.Sprint(round, " ")), about...) {
			calls++
			all.Go(func() { call(c, l) })
		}
		for _, c := range claimers(fmt.Sprint("fresh ", round, " ")) { // it does not know Redis's clock
			calls++
			all.Go(func() { call(c, fresh) })
		}
		all.Wait()
	}
	pass(ctx, stall-time.Since(began))
	s.Continue()
	still := stood()
	t.Logf("%d calls, the slowest returned after %v; this process stood still for %v", calls, slowest, still)
	if slowest > bound+still {
		t.Errorf("a call returned after %v", slowest)
	}
	receive(t, "the end of the lease or the attempt", ended)
	receive(t, "the end of the other", ended)
	clean(t, rdb, ns)

	if err := long.Context().Err(); err != nil {
		t.Errorf("the long lease: %v", context.Cause(long.Context()))
	}
	wantErr(t, long.Release(ctx), nil)
	again, r, err := keeper.Jobs().Await(ctx, claim)
	wantErr(t, err, nil)
	if r.Job.Attempt != 2 {
		t.Errorf("attempt %d follows the first", r.Job.Attempt)
	}
	wantErr(t, work.Settle(ctx, lock.Settlement{End: lock.Done}), lock.ErrLeaseLost)
	wantErr(t, again.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
}
