package lock_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A lock without expiry has no time left to wait for; its waiter asks about
// once a second, and no more.
func TestWaitingForALockWithoutExpiryIsNoBusyLoop(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ctx := bounded(t)
	l, p := newProxied(t, s, lock.Config{Namespace: s.Namespace(t)})
	must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "a", Owner: "me", TTL: lock.NoExpiry}))
	waiting, leave := context.WithCancel(ctx)
	gone := make(chan error, 1)
	go func() { _, err := l.Hold(waiting, lock.Claim{Resource: "a"}); gone <- err }()
	claims := func() int { return p.Commands()["evalsha"] }
	eventually(t, "nobody waits", func() bool { return l.Stats().Waiters == 1 && l.Stats().Leases == 0 })
	before := claims()
	eventually(t, "no probe", func() bool { return claims() >= before+3 })
	if n := claims() - before; n > 20 {
		t.Errorf("%d claims in about two seconds", n)
	}
	leave()
	wantErr(t, receive(t, "the waiter", gone), context.Canceled)
}

func TestKeepRenewsWhatIsAlmostOver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: s.Namespace(t)})
	const ttl = 2 * time.Second
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "a", Owner: "me", TTL: ttl}))
	left := func() time.Duration { return must[lock.Results](t)(l.Owners(ctx, "a"))[0].TTL }
	eventually(t, "the lease does not run", func() bool { return left() < ttl/4 })
	kept := must[[]*lock.Lease](t)(l.Keep(ctx, rs...))
	eventually(t, "it is not renewed", func() bool { return left() > ttl/2 || kept[0].Context().Err() != nil })
	wantErr(t, kept[0].Context().Err(), nil)
	wantErr(t, kept[0].Release(ctx), nil)
}

func TestDeadlinesMayBeFarAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l := newLocker(t, s, lock.Config{Namespace: s.Namespace(t)})
	ctx, cancel := context.WithDeadline(bounded(t), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	defer cancel()
	far, cancelFar := context.WithTimeout(context.Background(), lock.NoExpiry)
	defer cancelFar()
	for name, ctx := range map[string]context.Context{"a": ctx, "b": far} {
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", name)...))
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
		le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: name}))
		wantErr(t, le.Release(ctx), nil)
	}
}

// The first request of a release is lost, and another has had the lock since
// before: the second one must not take that for its own doing.
func TestAResentReleaseIsNotMistakenForOneThatWorked(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ctx := bounded(t)
	ns := s.Namespace(t)
	l, p := newProxied(t, s, lock.Config{Namespace: ns})
	other := newLocker(t, s, lock.Config{Namespace: ns})
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "a", Owner: "me", TTL: lock.MinTTL}))
	var theirs lock.Results
	eventually(t, "the lease does not end", func() bool {
		var err error
		theirs, err = other.TryLock(ctx, lock.Claims("you", "a")...)
		return err == nil
	})
	// What the clock of the other process says must not decide: the grant is older by far than the release.
	eventually(t, "no time passes", func() bool {
		return must[lock.Results](t)(l.Owners(ctx, "a"))[0].TTL < 30*time.Second-50*time.Millisecond
	})
	loss := p.DropRequests(redistest.Named("evalsha"), 1, redistest.ThenCut)
	_, err := l.Unlock(ctx, rs.Claims()...)
	<-loss.Done()
	wantErr(t, err, lock.ErrHeld)
	if r := must[lock.Results](t)(l.Owners(ctx, "a"))[0]; r.Fence != theirs[0].Fence {
		t.Errorf("it is %+v now", r)
	}
}
