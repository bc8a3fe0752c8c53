package lock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A caller is one call of lock, for resources of its own.
type caller struct {
	name string
	call func(ctx context.Context, l *lock.Locker) error
}

// claimers are the calls that may be granted something.
func claimers(resource string) []caller {
	r := func(s string) string { return resource + s }
	return []caller{
		{"TryLock", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.TryLock(ctx, lock.Claims("me", r("try"), r("try2"))...)
			return err
		}},
		{"TryLockAll", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.TryLockAll(ctx, lock.Claims("me", r("all"), r("all2"))...)
			return err
		}},
		{"ForceLock", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.ForceLock(ctx, lock.Claims("me", r("force"))...)
			return err
		}},
		{"TryHold", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.TryHold(ctx, lock.Claim{Resource: r("tryhold")})
			return err
		}},
		{"Hold", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Hold(ctx, lock.Claim{Resource: r("hold")})
			return err
		}},
		{"Hold without expiry", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Hold(ctx, lock.Claim{Resource: r("hold2"), TTL: lock.NoExpiry})
			return err
		}},
		{"Do", func(ctx context.Context, l *lock.Locker) error {
			return l.Do(ctx, lock.Claim{Resource: r("do")}, func(context.Context, *lock.Lease) error { return nil })
		}},
		{"Jobs.Claim", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: r("claim")}, TTL: time.Hour, MaxAttempts: 3})
			return err
		}},
		{"Jobs.TryAwait", func(ctx context.Context, l *lock.Locker) error {
			_, _, err := l.Jobs().TryAwait(ctx, lock.JobClaim{ID: lock.JobID{Key: r("tryawait")}, TTL: time.Hour, MaxAttempts: 3})
			return err
		}},
		{"Jobs.TryAwaitSome", func(ctx context.Context, l *lock.Locker) error {
			_, _, err := l.Jobs().TryAwaitSome(ctx, 2, lock.JobClaim{ID: lock.JobID{Key: r("some")}, TTL: time.Hour, MaxAttempts: 3},
				lock.JobClaim{ID: lock.JobID{Key: r("some2")}, TTL: time.Hour, MaxAttempts: 3})
			return err
		}},
		{"Jobs.Await", func(ctx context.Context, l *lock.Locker) error {
			_, _, err := attempt(ctx, l, lock.JobID{Key: r("await")}, time.Hour, 3)
			return err
		}},
	}
}

// holders are the calls about something that was granted before.
func holders(t *testing.T, l *lock.Locker) []caller {
	t.Helper()
	ctx := bounded(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "held1", "held2", "held3")...))
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "held4"}))
	job, _, err := attempt(ctx, l, lock.JobID{Key: "held5"}, time.Minute, 3)
	wantErr(t, err, nil)
	grant := claimedJob(ctx, t, l, lock.JobID{Key: "held6"}, time.Minute).Grant
	return []caller{
		{"Extend", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Extend(ctx, rs[:1].Claims()...)
			return err
		}},
		{"Unlock", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Unlock(ctx, rs[1:2].Claims()...)
			return err
		}},
		{"ForceUnlock", func(ctx context.Context, l *lock.Locker) error { _, err := l.ForceUnlock(ctx, "held3"); return err }},
		{"Owners", func(ctx context.Context, l *lock.Locker) error { _, err := l.Owners(ctx, "held1"); return err }},
		{"List", func(ctx context.Context, l *lock.Locker) error {
			for _, err := range l.List(ctx, lock.Query{}) {
				return err
			}
			return nil
		}},
		{"Lease.Release", func(ctx context.Context, _ *lock.Locker) error { return lease.Release(ctx) }},
		{"JobLease.Settle", func(ctx context.Context, _ *lock.Locker) error {
			return job.Settle(ctx, lock.Settlement{End: lock.Done})
		}},
		{"Jobs.Settle", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: grant, ID: lock.JobID{Key: "held6"}, End: lock.Done})
			return err
		}},
		{"Jobs.Get", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.Jobs().Get(ctx, lock.JobID{Key: "held5"})
			return err
		}},
		{"Jobs.List", func(ctx context.Context, l *lock.Locker) error {
			for _, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
				return err
			}
			return nil
		}},
		{"Jobs.Reset", func(ctx context.Context, l *lock.Locker) error { return l.Jobs().Reset(ctx, lock.JobID{Key: "held5"}) }},
		{"Watch", func(ctx context.Context, l *lock.Locker) error { _, err := l.Watch(ctx); return err }},
	}
}

// patience is how long each caller waits.
const patience = 300 * time.Millisecond

// callAll makes all calls at once, and wants each to return when its context has
// ended, with that as the reason.
func callAll(t *testing.T, l *lock.Locker, callers []caller) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range callers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			began := time.Now()
			err := c.call(ctx, l)
			if took := time.Since(began); took > patience+300*time.Millisecond {
				t.Errorf("%s returned after %v", c.name, took)
			}
			if !isDeadline(err) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	all.Wait()
}

// clean polls until no resource but those held before is locked, offered, waited
// for or counted; and looks again when nothing that was sent can still be executed.
func clean(t *testing.T, rdb *redis.Client, namespace string) {
	t.Helper()
	ctx := bounded(t)
	keys := keysOf(namespace, 0)
	var left string
	tidy := func() bool {
		left = ""
		for resource, entry := range rdb.HGetAll(ctx, keys[locksAt]).Val() {
			if !contains(resource, "held") {
				left += fmt.Sprintf("lock %q %q\n", resource, entry)
			}
		}
		for _, m := range rdb.ZRange(ctx, keys[queueAt], 0, -1).Val() {
			left += fmt.Sprintf("waiter %q\n", m)
		}
		for place, record := range rdb.HGetAll(ctx, keys[jobsAt]).Val() {
			if !contains(place, "held") && record[:2] != "Ja" { // no attempt counted
				left += fmt.Sprintf("attempt %q %q\n", place, record)
			}
		}
		return left == ""
	}
	defer func() {
		if left != "" {
			t.Logf("left behind:\n%s", left)
		}
	}()
	eventually(t, "nothing left behind", tidy)
	pass(ctx, 1200*time.Millisecond)
	eventually(t, "nothing left behind", tidy)
}

// manyConnections makes connections for many calls at once, so that those to come are sent.
func manyConnections(t *testing.T, l *lock.Locker) {
	t.Helper()
	ctx := bounded(t)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := l.Owners(ctx, "x"); err != nil {
				t.Errorf("Owners: %v", err)
			}
		})
	}
	all.Wait()
}

// TestG10EveryCallReturnsByItsDeadline: Redis is stopped, clients have their
// default options. When it runs on, those who left have left nothing behind.
func TestG10EveryCallReturnsByItsDeadline(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	l := newLocker(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry}) // what is left behind stays
	fresh := newLocker(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry})
	callers := holders(t, l)
	manyConnections(t, l)
	s.Stop()
	var both sync.WaitGroup
	both.Go(func() { callAll(t, l, append(callers, claimers("")...)) })
	both.Go(func() { callAll(t, fresh, claimers("fresh ")) }) // it does not know Redis's clock yet
	both.Wait()
	s.Continue()
	clean(t, rdb, ns)
}

// TestG10LateExecutionLeavesNothingBehind: the network holds requests, or
// replies, back for longer than their callers wait.
func TestG10LateExecutionLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ways := map[string]redistest.Direction{"requests": redistest.Requests, "replies": redistest.Replies, "both": redistest.Both}
	for name, way := range ways {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cut %v", name, again), func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t, redistest.Any)
				ns := s.Namespace(t)
				l, p := newProxied(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry})
				for _, c := range claimers("held ") { // the server knows the scripts
					wantErr(t, c.call(bounded(t), l), nil)
				}
				for i := range 3 {
					p.Delay(50 * time.Millisecond)
					manyConnections(t, l)
					p.Delay(0)
					p.Stall(way)
					callAll(t, l, claimers(fmt.Sprint(i, " ")))
					if again {
						p.Cut()
					}
					p.Resume(way)
				}
				clean(t, s.Client(t), ns)
			})
		}
	}
}

// TestG10WaitersWhoLeaveAreTakenOut: they waited in the queue already when
// Redis stopped.
func TestG10WaitersWhoLeaveAreTakenOut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	held := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "held", Owner: "me", TTL: lock.NoExpiry}))
	gone := errors.New("gone")
	leave, cancel := context.WithCancelCause(ctx)
	waiters := make(chan error, 3)
	other := newLocker(t, s, lock.Config{Namespace: ns})
	id := lock.JobID{Key: "held"}
	go func() { _, err := l.Hold(leave, lock.Claim{Resource: "held"}); waiters <- err }()
	go func() { _, err := other.Hold(leave, lock.Claim{Resource: "held"}); waiters <- err }()
	go func() { _, _, err := attempt(leave, other, id, time.Minute, 1); waiters <- err }()
	awaitQueue(t, rdb, ns, 3)
	s.Stop()
	cancel(gone)
	began := time.Now()
	for range 3 {
		wantErr(t, receive(t, "a waiter's return", waiters), gone)
	}
	if took := time.Since(began); took > noise {
		t.Errorf("the waiters returned after %v", took)
	}
	s.Continue()
	clean(t, rdb, ns)
	must[lock.Results](t)(l.Unlock(ctx, held.Claims()...))
	if g := claimedJob(ctx, t, l, id, time.Minute); g.Job.Attempt != 1 {
		t.Errorf("attempt %d is the first", g.Job.Attempt)
	}
}
