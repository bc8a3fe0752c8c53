package lock_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// Collections stand in the index of what expires as groups. What is promised of
// each lock holds all the same, whatever becomes of the others.

// lease makes claims with this time to live.
func lease(owner string, ttl time.Duration, names ...string) []lock.Claim {
	claims := lock.Claims(owner, names...)
	for i := range claims {
		claims[i].TTL = ttl
	}
	return claims
}

// index returns what stands in the index of what expires, the longest first.
func index(t testing.TB, rdb redis.UniversalClient, namespace string) []string {
	t.Helper()
	members := must[[]string](t)(rdb.ZRange(bounded(t), keysOf(namespace, 0)[2], 0, -1).Result())
	slices.SortStableFunc(members, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return members
}

// entries is how many entries of locks a namespace has.
func entries(t testing.TB, rdb redis.UniversalClient, namespace string) int {
	t.Helper()
	return int(must[int64](t)(rdb.HLen(bounded(t), keysOf(namespace, 0)[1]).Result()))
}

// lapsed waits until nobody holds any of these.
func lapsed(ctx context.Context, t testing.TB, l *lock.Locker, names ...string) {
	t.Helper()
	eventually(t, "the end of the leases", func() bool {
		return !slices.ContainsFunc(must[lock.Results](t)(l.Owners(ctx, names...)), func(r lock.Result) bool { return r.Owner != "" })
	})
}

// wantExpiries ends the test unless the expiries of exactly these grants, each
// once, are seen before that of a lock which is granted now.
func wantExpiries(ctx context.Context, t testing.TB, l *lock.Locker, seen <-chan lock.Event, of ...lock.Result) {
	t.Helper()
	const last = "last of all"
	expire(ctx, t, l, last)
	want, got := make(map[string]int64), make(map[string]int64)
	for _, r := range of {
		want[r.Resource] = r.Fence
	}
	for e := range seen {
		if e.Resource == last {
			break
		}
		if _, twice := got[e.Resource]; twice || e.Kind != lock.EventExpire {
			t.Errorf("twice, or not an expiry: %+v", e)
		}
		got[e.Resource] = e.Fence
	}
	if !maps.Equal(got, want) {
		t.Fatalf("saw %d expiries, want %d: %v", len(got), len(want), got)
	}
}

// soon is long enough for a few calls, and short enough to wait for its end.
const soon = 1500 * time.Millisecond

func TestGroupIsOneMemberOfTheIndex(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	long := strings.Repeat("x", 400)
	for _, c := range []struct {
		what    string
		claims  []lock.Claim
		members int
	}{
		{"a collection", lease("me", time.Minute, names("name", 1000)...), 2},
		{"owners that differ", append(lock.Claims("me", names("mine", 100)...), lock.Claims("you", names("yours", 100)...)...), 1},
		{"few bytes", lock.Claims("me", names("", 100)...), 100},
		{"few claims", lock.Claims("me", names(long, 5)...), 5},
		{"a long lease", lease("me", time.Minute+time.Millisecond, names("name", 100)...), 100},
		{"no expiry", lease("me", lock.NoExpiry, names("name", 100)...), 100},
		{"many bytes", lock.Claims("me", names(long, 100)...), 100},
		{"a name with \\0", lock.Claims("me", append(names("name", 100), "a\x00b")...), 101},
		{"leases that differ", append(lease("me", time.Minute, names("a", 200)...), lease("me", time.Second*59, names("b", 200)...)...), 2},
	} {
		ns := s.Namespace(t)
		l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
		rs := must[lock.Results](t)(l.TryLock(ctx, c.claims...))
		if n := len(index(t, rdb, ns)); n != c.members {
			t.Errorf("%s: %d members", c.what, n)
		}
		resources := make([]string, len(c.claims))
		for i, claim := range c.claims {
			resources[i] = claim.Resource
		}
		owners := must[lock.Results](t)(l.Owners(ctx, resources...))
		for i, r := range owners {
			if r.Owner != rs[i].Owner || r.Fence != rs[i].Fence || r.TTL <= 0 || r.TTL > rs[i].TTL || i > 0 && r.Fence == owners[i-1].Fence {
				t.Fatalf("%s: granted %+v, found %+v", c.what, rs[i], r)
			}
		}
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
		if n, m := entries(t, rdb, ns), index(t, rdb, ns); n != 0 || len(m) != 0 {
			t.Errorf("%s: %d entries and %d members are left", c.what, n, len(m))
		}
	}
}

// TestGroupLapses: each expiry is published once, and nothing is left.
func TestGroupLapses(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	var watchers []<-chan lock.Event
	for range 3 {
		watchers = append(watchers, events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire))
	}
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, names("name", 1000)...)...))
	eventually(t, "no entry", func() bool { return entries(t, rdb, ns) == 0 })
	for _, seen := range watchers {
		wantExpiries(ctx, t, l, seen, rs...)
	}
	eventually(t, "an empty index", func() bool { return len(index(t, rdb, ns)) == 0 })
}

// TestGroupIsReleasedOneByOne, the first half of it, and some are locked again:
// for as long as the group, or for longer.
func TestGroupIsReleasedOneByOne(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, names("name", 100)...)...))
	lapsing := slices.Clone(rs[50:])
	for i, c := range rs[:50].Claims() {
		must[lock.Results](t)(l.Unlock(ctx, c))
		switch i % 5 {
		case 0:
			must[lock.Results](t)(l.TryLock(ctx, lease("you", time.Hour, c.Resource)...))
		case 1:
			lapsing = append(lapsing, must[lock.Results](t)(l.TryLock(ctx, lease("you", soon, c.Resource)...))...)
		}
	}
	for _, r := range lapsing {
		lapsed(ctx, t, l, r.Resource)
	}
	wantExpiries(ctx, t, l, seen, lapsing...)
	eventually(t, "the members of the others alone", func() bool { return entries(t, rdb, ns) == 10 && len(index(t, rdb, ns)) == 10 })
}

// TestGroupIsPartlyExtended: what was extended ends later, by the new lease.
func TestGroupIsPartlyExtended(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, names("name", 120)...)...))
	claims := rs[:80].Claims()
	for i := range claims {
		claims[i].TTL = 2 * soon
	}
	one := must[lock.Results](t)(l.Extend(ctx, claims[0])) // by itself, and the others together
	rest := must[lock.Results](t)(l.Extend(ctx, claims[1:]...))
	lapsed(ctx, t, l, names("name", 120)[80:]...)
	wantExpiries(ctx, t, l, seen, rs[80:]...)
	if n := entries(t, rdb, ns); n != 80 {
		t.Errorf("%d entries", n)
	}
	must[lock.Results](t)(l.Unlock(ctx, append(one, rest[:39]...).Claims()...))
	lapsed(ctx, t, l, names("name", 80)...)
	wantExpiries(ctx, t, l, seen, rs[40:80]...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestGroupIsExtendedAsAWhole, also for another lease time, and released as such.
func TestGroupIsExtendedAsAWhole(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", 20*time.Second, names("name", 200)...)...))
	for _, ttl := range []time.Duration{20 * time.Second, 30 * time.Second, time.Minute} {
		claims := rs.Claims()
		for i := range claims {
			claims[i].TTL = ttl
		}
		next := must[lock.Results](t)(l.Extend(ctx, claims...))
		for i, r := range must[lock.Results](t)(l.Owners(ctx, names("name", 200)...)) {
			if r.Fence != rs[i].Fence || r.TTL > ttl || r.TTL < ttl-10*time.Second || next[i].Fence != r.Fence {
				t.Fatalf("granted %+v, extended to %+v, found %+v", rs[i], next[i], r)
			}
		}
		if m := index(t, rdb, ns); len(m) != 1 {
			t.Errorf("%d members", len(m))
		}
		rs = next
	}
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	if n, m := entries(t, rdb, ns), index(t, rdb, ns); n != 0 || len(m) != 0 {
		t.Errorf("%d entries and %d members are left", n, len(m))
	}
}

// TestGroupLapsesAfterItWasExtended as a whole, and not before.
func TestGroupLapsesAfterItWasExtended(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, names("name", 200)...)...))
	claims := rs.Claims()
	for i := range claims {
		claims[i].TTL = 2 * soon
	}
	must[lock.Results](t)(l.Extend(ctx, claims...))
	pass(ctx, soon+soon/3) // and the sweeps in it
	wantExpiries(ctx, t, l, seen)
	lapsed(ctx, t, l, names("name", 200)...)
	wantExpiries(ctx, t, l, seen, rs...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestGroupIsKept and lost by nobody, though each renewal may be of others.
func TestGroupIsKept(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, names("name", 700)...)...))
	leases := must[[]*lock.Lease](t)(l.Keep(ctx, rs...))
	for i := range 6 {
		pass(ctx, soon/3)
		for _, lease := range leases[i*100 : i*100+50] { // so that the compositions change
			wantErr(t, lease.Release(ctx), nil)
		}
	}
	var kept lock.Results
	for i, lease := range leases {
		switch {
		case i >= 600:
			lease.Lapse()
			kept = append(kept, rs[i])
		case i%100 >= 50:
			wantErr(t, lease.Release(ctx), nil)
		}
	}
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
	wantExpiries(ctx, t, l, seen, kept...)
}

// TestCompositionsThatChangeLeaveNothingBehind: who extends makes no new groups.
func TestCompositionsThatChangeLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", time.Minute, names("name", 200)...)...))
	for range 20 {
		claims := rs.Claims()
		rs = must[lock.Results](t)(l.Extend(ctx, append(claims[1:], claims[0])...))
		for _, v := range must[[]string](t)(rdb.HVals(ctx, keysOf(ns, 0)[1]).Result()) {
			if v[0] != 'L' {
				t.Fatalf("%q is by itself in the index", v)
			}
		}
	}
	if n := len(index(t, rdb, ns)); n != 1+200 {
		t.Errorf("%d members", n)
	}
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	if n, m := entries(t, rdb, ns), index(t, rdb, ns); n != 0 || len(m) != 1 {
		t.Errorf("%d entries and %d members are left", n, len(m))
	}
}

// TestGroupIsForcedOver: the new holders have leases of their own.
func TestGroupIsForcedOver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	all := names("name", 100)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, all...)...))
	forced := must[lock.Results](t)(l.ForceLock(ctx, lease("you", 2*soon, all[:50]...)...))
	_, err := l.Unlock(ctx, rs[:50].Claims()...)
	wantErr(t, err, lock.ErrHeld)
	lapsed(ctx, t, l, all[50:]...)
	wantExpiries(ctx, t, l, seen, rs[50:]...)
	for i, r := range must[lock.Results](t)(l.Owners(ctx, all[:50]...)) {
		if r.Fence != forced[i].Fence {
			t.Errorf("%+v instead of %+v", r, forced[i])
		}
	}
	lapsed(ctx, t, l, all...)
	wantExpiries(ctx, t, l, seen, forced...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestGroupIsHandedOver to those who wait for some of it when it lapses.
func TestGroupIsHandedOver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	all := names("name", 100)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, all...)...))
	granted := make(chan *lock.Lease, 10)
	for i := range cap(granted) {
		next := newLocker(t, s, lock.Config{Namespace: ns})
		go func() {
			lease, err := next.Hold(ctx, lock.Claim{Resource: all[10*i]})
			if err != nil {
				t.Error(err)
			}
			granted <- lease
		}()
	}
	for range cap(granted) {
		if lease := receive(t, "a grant", granted); lease != nil {
			wantErr(t, lease.Release(ctx), nil)
		}
	}
	lapsed(ctx, t, l, all...)
	wantExpiries(ctx, t, l, seen, rs...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestLongGroupIsSweptInParts by the grants of others, of which each clears away
// more than it adds and no more than a few.
func TestLongGroupIsSweptInParts(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	all := names("name", 500)
	must[lock.Results](t)(l.TryLock(ctx, lease("me", lock.MinTTL, all...)...))
	lapsed(ctx, t, l, all...)
	left, longest := 500, len(index(t, rdb, ns)[0])
	for i := 0; left > 0; i++ {
		if i == 500 {
			t.Fatalf("%d are left", left)
		}
		must[lock.Results](t)(l.TryLock(ctx, lease("other", time.Hour, fmt.Sprint("other", i))...))
		n := entries(t, rdb, ns) - (i + 1)
		if n < left-100 || n > left {
			t.Fatalf("%d were swept at once", left-n)
		}
		left = n
		if m := len(index(t, rdb, ns)[0]); left > 100 && (m > longest || m <= lock.MaxName) {
			t.Fatalf("the longest member has %d bytes after %d", m, longest)
		}
	}
	for _, m := range index(t, rdb, ns) {
		if !strings.HasPrefix(m, "other") {
			t.Errorf("%q is left", m)
		}
	}
}

// TestGroupIsNotForgottenWithoutMemory for what is left of it.
func TestGroupIsNotForgottenWithoutMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	all := names("name", 500)
	events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire) // whoever watches, sweeps
	must[lock.Results](t)(l.TryLock(ctx, lease("me", soon, all...)...))
	wantErr(t, rdb.ConfigSet(ctx, "maxmemory", "1").Err(), nil)
	eventually(t, "a sweep", func() bool { return entries(t, rdb, ns) < len(all) })
	wantErr(t, rdb.ConfigSet(ctx, "maxmemory", "0").Err(), nil)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestGroupThatLapsedIsLockedAgain, all of it in one call, before any sweep.
func TestGroupThatLapsedIsLockedAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l, rdb := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t)
	all := names("name", 200)
	first := must[lock.Results](t)(l.TryLock(ctx, lease("me", lock.MinTTL, all...)...))
	lapsed(ctx, t, l, all...)
	second := must[lock.Results](t)(l.TryLock(ctx, lease("you", soon, all...)...))
	for i, r := range must[lock.Results](t)(l.Owners(ctx, all...)) {
		if r.Fence != second[i].Fence || r.Fence <= first[i].Fence {
			t.Fatalf("%+v after %+v", r, first[i])
		}
	}
	_, err := l.Unlock(ctx, first.Claims()...)
	wantErr(t, err, lock.ErrHeld)
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
	lapsed(ctx, t, l, all...)
	wantExpiries(ctx, t, l, seen, second...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
}

// TestChangedClaimsOfACollectionReleaseNothing: another resource's fence, or
// another's owner.
func TestChangedClaimsOfACollectionReleaseNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		all := names("name", 1000)
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", all...)...))
		for what, change := range map[string]func(cs []lock.Claim){
			"resources": func(cs []lock.Claim) {
				for i := range cs {
					cs[i].Resource = rs[(i+1)%len(rs)].Resource
				}
			},
			"owners": func(cs []lock.Claim) {
				for i := range cs {
					cs[i].Owner = "you"
				}
			},
			"fences": func(cs []lock.Claim) {
				for i := range cs {
					cs[i].Fence = rs[(i+1)%len(rs)].Fence
				}
			},
		} {
			claims := rs.Claims()
			change(claims)
			refused, _ := l.Unlock(ctx, claims...)
			for i, r := range refused {
				if !errors.Is(r.Err, lock.ErrHeld) {
					t.Fatalf("%s: %+v is %+v", what, claims[i], r)
				}
			}
		}
		claims := rs.Claims()
		slices.Reverse(claims)
		claims[0].Fence = 0
		must[lock.Results](t)(l.Unlock(ctx, claims...))
	})
}

// TestGroupIsRenewedWhileItsSlotMoves, without the index, and lapses afterwards.
// In between others have tried to lock some of it.
func TestGroupIsRenewedWhileItsSlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns := c.Namespace(t)
	rdb := c.Client(t)
	ctx := within(t, 2*time.Minute)
	l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Shards: 1})
	const ttl = 3 * time.Second
	all := names("a rather long name", 100)
	rs := must[lock.Results](t)(l.TryLock(ctx, lease("me", ttl, all...)...))
	leases := must[[]*lock.Lease](t)(l.Keep(ctx, rs...))
	key := keysOf(ns, 0)[locksAt]
	m, err := c.BeginMigration(ctx, c.Slot(key), otherMaster(c, key))
	wantErr(t, err, nil)
	wantErr(t, m.Move(ctx, (must[int](t)(m.Remaining(ctx))+1)/2), nil)
	pass(ctx, ttl+ttl/3)
	for _, lease := range leases {
		wantErr(t, context.Cause(lease.Context()), nil)
		lease.Lapse() // before it is renewed with the index again
	}
	wantErr(t, m.Finish(ctx), nil)
	_, err = l.TryLock(ctx, lease("you", ttl, all[:50]...)...)
	wantErr(t, err, lock.ErrHeld)
	seen := events(t, newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1}), lock.EventExpire)
	for _, lease := range leases {
		<-lease.Context().Done()
	}
	lapsed(ctx, t, l, all...)
	eventually(t, "nothing left", func() bool { return entries(t, rdb, ns) == 0 && len(index(t, rdb, ns)) == 0 })
	wantExpiries(ctx, t, l, seen, rs...)
}
