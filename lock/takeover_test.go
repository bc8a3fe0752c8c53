//go:build unix

package lock_test

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestG6KilledHolderIsReplaced(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	const ttl = 2 * time.Second
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		ns := s.Namespace(t)
		c := spawn(t, s, order{Role: "holder", Namespace: ns, Resource: "r", TTL: ttl})
		c.await("waits")
		c.await("granted")
		granted := make(chan error, 1)
		l := newLocker(t, s, lock.Config{Namespace: ns})
		go func() {
			_, err := l.Hold(bounded(t), lock.Claim{Resource: "r", TTL: ttl})
			granted <- err
		}()
		awaitQueue(t, s.Client(t), ns, 1)
		c.kill()
		began := time.Now()
		wantErr(t, receive(t, "the grant", granted), nil)
		if took := time.Since(began); took > ttl+probe+noise {
			t.Errorf("replaced after %v", took)
		}
	})
	t.Run("job", func(t *testing.T) {
		t.Parallel()
		ns := s.Namespace(t)
		id := lock.JobID{Key: "job", Run: "run"}
		c := spawn(t, s, order{Role: "worker", Namespace: ns, Resource: id.Key, Run: id.Run, TTL: ttl, Max: 3})
		first := c.await("granted")
		results := make(chan lock.JobResult, 1)
		l := newLocker(t, s, lock.Config{Namespace: ns})
		go func() {
			_, res, err := attempt(bounded(t), l, id, ttl, 3)
			if err != nil {
				t.Errorf("Await: %v", err)
			}
			results <- res
		}()
		awaitQueue(t, s.Client(t), ns, 1)
		c.kill()
		began := time.Now()
		res := receive(t, "the attempt", results)
		if took := time.Since(began); took > ttl+probe+noise {
			t.Errorf("replaced after %v", took)
		}
		if res.Job.Attempt != 2 || len(res.Job.Attempts) != 2 {
			t.Fatalf("the run is %+v", res.Job)
		}
		if a := res.Job.Attempts[0]; a.Fence != first.Fence || a.End != "lapsed" {
			t.Errorf("the killed attempt is %+v", a)
		}
	})
}

// TestG6ReleaseHandsOverPromptly measures by Redis's clock from just before a
// release to the next grant.
func TestG6ReleaseHandsOverPromptly(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	clock := s.Client(t)
	ctx := bounded(t)
	lockers := [2]*lock.Locker{newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns})}
	claim := lock.Claim{Resource: "r", TTL: lock.NoExpiry}
	lease := must[*lock.Lease](t)(lockers[0].Hold(ctx, claim))
	var gaps []time.Duration
	for i := range 30 {
		next := make(chan *lock.Lease, 1)
		go func() {
			le, err := lockers[(i+1)%2].Hold(ctx, claim)
			if err != nil {
				t.Errorf("Hold: %v", err)
			}
			next <- le
		}()
		awaitQueue(t, clock, ns, 1)
		released := must[int64](t)(redisMicros(ctx, clock))
		wantErr(t, lease.Release(ctx), nil)
		lease = receive(t, "the next lease", next)
		gaps = append(gaps, time.Duration(grantedAt(lease.Fence())-released)*time.Microsecond)
	}
	slices.SortFunc(gaps, cmp.Compare[time.Duration])
	t.Logf("median %v, longest %v", gaps[len(gaps)/2], gaps[len(gaps)-1])
	if gaps[len(gaps)/2] > 50*time.Millisecond {
		t.Errorf("hand-overs took %v", gaps)
	}
}

// TestG6KilledWaitersAheadCostOneProbeEach: those who were to be handed the lock
// are dead.
func TestG6KilledWaitersAheadCostOneProbeEach(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: time.Minute}))
	const dead = 3
	var children []*child
	for i := range dead {
		c := spawn(t, s, order{Role: "holder", Namespace: ns, Resource: "r", TTL: time.Minute})
		c.await("waits")
		awaitQueue(t, rdb, ns, int64(i+1))
		children = append(children, c)
	}
	granted := make(chan error, 1)
	last := newLocker(t, s, lock.Config{Namespace: ns})
	go func() {
		_, err := last.Hold(ctx, lock.Claim{Resource: "r"})
		granted <- err
	}()
	awaitQueue(t, rdb, ns, dead+1)
	for _, c := range children {
		c.kill()
		_, _ = c.cmd.Process.Wait()
	}
	wantErr(t, lease.Release(ctx), nil)
	began := time.Now()
	wantErr(t, receive(t, "the grant", granted), nil)
	if took, most := time.Since(began), probe*(dead+1)+rank*(dead+1)+noise; took > most {
		t.Errorf("granted after %v: want %v at the most", took, most)
	}
	if n := rdb.ZCard(context.Background(), keysOf(ns, 0)[queueAt]).Val(); n != 0 {
		t.Errorf("%d members are left in the queue", n)
	}
}
