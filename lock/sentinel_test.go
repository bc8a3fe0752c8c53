package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestSentinelFailover: the primary is killed. What its replica had been told
// stays, a lease that is long enough included; and everybody goes on.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	const ns, long = "app", time.Minute
	l, other := newLockerOn(t, s.Client(t), lock.Config{Namespace: ns}), newLockerOn(t, s.Client(t), lock.Config{Namespace: ns})
	rdb := s.Client(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)

	kept := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "kept", TTL: long}))
	last := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "tried", Owner: "me", TTL: long}))[0].Fence
	waited := make(chan *lock.Lease, 1)
	go func() {
		lease, err := other.Hold(ctx, lock.Claim{Resource: "kept", TTL: long})
		if err != nil {
			t.Errorf("Hold across the failover: %v", err)
		}
		waited <- lease
	}()
	awaitQueue(t, rdb, ns, 1)
	if n := must[int64](t)(rdb.Wait(ctx, 1, 10*time.Second).Result()); n != 1 {
		t.Fatalf("replicated to %d", n)
	}
	deadline := kept.Deadline()

	s.Primary().Kill()
	// Hold goes on for as long as its context, in one call.
	fresh := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "fresh", TTL: long}))
	if fresh.Fence() <= last {
		t.Errorf("fence %d after the failover, %d before it", fresh.Fence(), last)
	}
	_, err := l.TryLock(ctx, lock.Claim{Resource: "tried", Owner: "you"})
	wantErr(t, err, lock.ErrHeld)
	again := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "tried again", Owner: "me"}))[0].Fence
	if again <= fresh.Fence() {
		t.Errorf("fence %d after %d", again, fresh.Fence())
	}

	eventually(t, "a renewal at the new primary", func() bool {
		return kept.Deadline().After(deadline) || kept.Context().Err() != nil
	})
	wantErr(t, context.Cause(kept.Context()), nil)
	wantErr(t, kept.Release(ctx), nil)
	handed := receive(t, "the hand-over", waited)
	if handed.Fence() <= again {
		t.Errorf("fence %d after %d", handed.Fence(), again)
	}
	wantErr(t, errors.Join(handed.Release(ctx), fresh.Release(ctx)), nil)
}
