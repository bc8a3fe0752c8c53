package lock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// everything matches each channel.
func everything(string) bool { return true }

// TestWaiterWhoLeavesWakesTheNextOfACrowd: of 257 waiters of a run that is over 256
// are woken. The first of them to go wakes the last, also if it leaves before it
// was told.
func TestWaiterWhoLeavesWakesTheNextOfACrowd(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns, ctx := s.Namespace(t), bounded(t)
	rdb := s.Client(t)
	id := lock.JobID{Key: "job", Run: "run"}
	holder, _, err := attempt(ctx, newLockerOn(t, rdb, lock.Config{Namespace: ns}), id, time.Minute, 5)
	wantErr(t, err, nil)
	queued := int64(0)
	queue := func(ctx context.Context, l *lock.Locker) <-chan error {
		told := make(chan error, 1)
		go func() {
			_, _, err := attempt(ctx, l, id, time.Minute, 5)
			told <- err
		}()
		queued++
		awaitQueue(t, rdb, ns, queued)
		return told
	}
	first, p := newProxied(t, s, lock.Config{Namespace: ns})
	p.DropMessages(everything)
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	left := queue(leaving, first)
	deaf := redistest.NewProxy(t, s.Addr())
	deaf.DropMessages(everything)
	o := s.Options()
	o.Addr = deaf.Addr()
	others := redis.NewClient(o)
	t.Cleanup(func() { _ = others.Close() })
	for range 255 {
		queue(ctx, newLockerOn(t, others, lock.Config{Namespace: ns}))
	}
	last := queue(ctx, newLockerOn(t, rdb, lock.Config{Namespace: ns}))
	wantErr(t, holder.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
	leave()
	wantErr(t, receive(t, "the return of who leaves", left), context.Canceled)
	select {
	case err := <-last:
		wantErr(t, err, lock.ErrJobDone)
	case <-time.After(15 * time.Second): // its timer would be later
		t.Error("the last waiter was not woken")
	}
}

// TestExhaustedIsLiftedByAClaimThatQueues: a run that was exhausted is next, once
// somebody with a larger maximum waits for it; also if its claim found the lock
// free and an older waiter of another run first.
func TestExhaustedIsLiftedByAClaimThatQueues(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns, ctx := s.Namespace(t), bounded(t)
	rdb, l := s.Client(t), newLocker(t, s, lock.Config{Namespace: ns})
	exhausted, older := lock.JobID{Key: "job", Run: "exhausted"}, lock.JobID{Key: "job", Run: "older"}
	g := must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: exhausted, MaxAttempts: 1}))[0]
	must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g.Grant, ID: exhausted, End: lock.Failed}))

	deaf, q := newProxied(t, s, lock.Config{Namespace: ns})
	q.DropMessages(everything)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "other")...))
	_, err := deaf.Hold(within(t, 300*time.Millisecond), lock.Claim{Resource: "other"}) // subscribes, so that the next claim queues at once
	wantErr(t, err, lock.ErrHeld)
	awaitQueue(t, rdb, ns, 0)

	const ttl = 300 * time.Millisecond
	must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: "job", Run: "dies"}, TTL: ttl, MaxAttempts: 1}))
	slow, p := newProxied(t, s, lock.Config{Namespace: ns})
	granted := make(chan *lock.JobLease, 1)
	go func() {
		lease, _, err := attempt(ctx, slow, older, time.Minute, 1)
		if err != nil {
			t.Errorf("the older waiter: %v", err)
		}
		granted <- lease
	}()
	awaitQueue(t, rdb, ns, 1)
	p.Stall(redistest.Requests) // does not see that the holder is gone
	eventually(t, "the end of the lease", func() bool {
		return must[lock.Results](t)(l.Owners(ctx, "job"))[0].Owner == ""
	})
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, _, err := attempt(waiting, deaf, exhausted, time.Minute, 2)
		done <- err
	}()
	awaitQueue(t, rdb, ns, 2)
	q.Stall(redistest.Requests) // its timer does not lift it
	p.Resume(redistest.Requests)
	lease := receive(t, "the older waiter's grant", granted)
	wantErr(t, lease.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
	if entry := rdb.HGet(ctx, keysOf(ns, 0)[locksAt], "job").Val(); !strings.HasPrefix(entry, "O") || !strings.Contains(entry, exhausted.Run) {
		t.Errorf("the lock is %q, want it offered to who waits for the run that was exhausted", entry)
	}
	q.Heal()
	if err := receive(t, "the answer", done); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the waiter: %v", err)
	}
}
