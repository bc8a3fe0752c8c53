package lock_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestDueGroupsDoNotBarTheirOwnNames: whatever was left in the index of what is
// locked again, in however many compositions.
func TestDueGroupsDoNotBarTheirOwnNames(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, rdb, ctx := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t), bounded(t)
	all := names("a resource with a name ", 500)
	const ttl = time.Second
	for range 12 {
		claims := lock.Claims("me", all...)
		rand.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
		for i := range claims {
			claims[i].TTL = ttl
		}
		must[lock.Results](t)(l.TryLock(ctx, claims...))
		must[lock.Results](t)(l.Unlock(ctx, lock.Claims("me", all...)...)) // by owner, in another order: the group stays
	}
	keys := keysOf(ns, 0)
	if n := rdb.ZCard(ctx, keys[2]).Val(); n < 10 {
		t.Fatalf("%d members of the index, want the groups", n)
	}
	pass(ctx, ttl+100*time.Millisecond)
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", all...)...))
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	eventually(t, "the index to be empty", func() bool { // grants sweep
		for range 40 {
			one := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "one")...))
			must[lock.Results](t)(l.Unlock(ctx, one.Claims()...))
		}
		return rdb.ZCard(ctx, keys[2]).Val() == 0
	})
}

// TestLongLeaseLeavesNoGroup: a group is for a minute; what is extended beyond it
// stands in the index by itself.
func TestLongLeaseLeavesNoGroup(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, rdb, ctx := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t), bounded(t)
	for _, ttl := range []time.Duration{24 * time.Hour, lock.NoExpiry} {
		claims := lock.Claims("me", names("a resource with a name ", 50)...)
		for i := range claims {
			claims[i].TTL = 10 * time.Second
		}
		rs := must[lock.Results](t)(l.TryLock(ctx, claims...))
		longer := rs.Claims()
		for i := range longer {
			longer[i].TTL = ttl
		}
		must[lock.Results](t)(l.Extend(ctx, longer...))
		must[lock.Results](t)(l.Unlock(ctx, lock.Claims("me", names("a resource with a name ", 50)...)...))
		for _, z := range must[[]redis.Z](t)(rdb.ZRangeWithScores(ctx, keysOf(ns, 0)[2], 0, -1).Result()) {
			if time.UnixMilli(int64(z.Score)).After(time.Now().Add(time.Minute)) {
				t.Errorf("after a lease of %v the index has %.40q… until %v", ttl, z.Member, z.Score)
			}
		}
	}
}

// TestRestOfAGroupIsNotTakenForAnother: the rest of one group that is swept in
// parts is another group, which lives.
func TestRestOfAGroupIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, rdb, ctx := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t), bounded(t)
	all := names("a resource with a name ", 100)
	short := lock.Claims("me", all...)
	for i := range short {
		short[i].TTL = 2 * soon
	}
	must[lock.Results](t)(l.TryLock(ctx, short...))
	for _, r := range all { // one by one: the group stays
		must[lock.Results](t)(l.Unlock(ctx, lock.Claim{Resource: r, Owner: "me"}))
	}
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", all[50:]...)...))
	pass(ctx, 2*soon+100*time.Millisecond)
	for i := range 4 { // each sweeps, being of four
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names(fmt.Sprint("other", i), 4)...)...))
	}
	indexed := 0
	for _, m := range rdb.ZRange(ctx, keysOf(ns, 0)[2], 0, -1).Val() {
		if len(m) > lock.MaxName {
			indexed++
		}
	}
	if indexed != 1 {
		t.Errorf("%d groups are indexed, want the one that is held", indexed)
	}
}
