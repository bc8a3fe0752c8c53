package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestCloseEndsWaitingAndKeeping(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		rdb := w.rdb(t)
		other := w.locker(t, lock.Config{})
		must[lock.Results](t)(other.TryLock(ctx, lock.Claims("other", names("r", 5)...)...))
		l := newLockerOn(t, rdb, lock.Config{Namespace: w.ns})
		lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "mine", Owner: "me"}))
		jobLease, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: "job"}, MaxAttempts: 1})
		wantErr(t, err, nil)
		watched := must[func(func(lock.Event) bool)](t)(watchOf(ctx, l))
		failed := make(chan error, 12)
		for _, name := range names("r", 5) {
			go func() { _, err := l.Hold(ctx, lock.Claim{Resource: name}); failed <- err }()
			go func() {
				_, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: name}, MaxAttempts: 1})
				failed <- err
			}()
		}
		go func() {
			for range watched {
				continue
			}
			failed <- lock.ErrClosed
		}()
		eventually(t, "not all are queued", func() bool { return queued(t, rdb, w.ns) == 20 })
		if n := l.Stats().Waiters; n != 10 {
			t.Errorf("Stats tells of %d waiters", n)
		}

		wantErr(t, l.Close(), nil)
		for range 11 {
			wantErr(t, receive(t, "the end of a wait", failed), lock.ErrClosed)
		}
		wantErr(t, ended(t, lease.Context()), lock.ErrClosed)
		wantErr(t, ended(t, jobLease.Context()), lock.ErrClosed)
		wantErr(t, lease.Release(ctx), lock.ErrClosed)
		wantErr(t, jobLease.Settle(ctx, lock.Settlement{End: lock.Done}), lock.ErrClosed)
		if n := queued(t, rdb, w.ns); n != 0 {
			t.Errorf("%d members are left in the queues", n)
		}
		if s := l.Stats(); s.Leases != 0 || s.Waiters != 0 {
			t.Errorf("Stats: %+v", s)
		}
		// Its leases run out by themselves, and the client is open.
		if h := holder(t, other, "mine"); h != "me" {
			t.Errorf("mine is held by %q", h)
		}
		wantErr(t, rdb.Ping(ctx).Err(), nil)
		wantErr(t, l.Close(), nil)
		for _, call := range all() {
			wantErr(t, call.call(ctx, l), lock.ErrClosed)
		}
	})
}

func watchOf(ctx context.Context, l *lock.Locker) (func(func(lock.Event) bool), error) {
	events, err := l.Watch(ctx)
	return events, err
}

// Not parallel: it looks at all goroutines of the process.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	s := redistest.Start(t, redistest.Any)
	before := goleak.IgnoreCurrent()
	ns := s.Namespace(t)
	rdb := redis.NewClient(s.Options())
	l, err := lock.New(rdb, lock.Config{Namespace: ns, Owner: "l", TTL: time.Second, Observers: []func(lock.Event){func(lock.Event) {}}})
	wantErr(t, err, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "held"}))
	must[func(func(lock.Event) bool)](t)(watchOf(ctx, l))
	failed := make(chan error, 1)
	go func() { _, err := l.Hold(ctx, lock.Claim{Resource: "held"}); failed <- err }()
	eventually(t, "nobody is queued", func() bool { return rdb.ZCard(ctx, keysOf(ns, 0)[3]).Val() == 2 })
	wantErr(t, l.Close(), nil)
	wantErr(t, receive(t, "the end of the wait", failed), lock.ErrClosed)
	wantErr(t, rdb.Close(), nil)
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A server that does not answer cannot be told; Close returns all the same.
func TestCloseIsBoundedWhenRedisIsStalled(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, p := newProxied(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
	failed := make(chan error, 1)
	go func() { _, err := l.Hold(ctx, lock.Claim{Resource: "r"}); failed <- err }()
	rdb := s.Client(t)
	eventually(t, "nobody is queued", func() bool { return rdb.ZCard(ctx, keysOf(ns, 0)[3]).Val() == 2 })
	p.Stall(redistest.Both)
	began := time.Now()
	wantErr(t, l.Close(), nil)
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("Close took %v", d)
	}
	if err := receive(t, "the end of the wait", failed); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("the waiter was told %v", err)
	}
	p.Heal()
}
