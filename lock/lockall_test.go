package lock_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestTryLockAllIsAllOrNone(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	all := must[lock.Results](t)(l.TryLockAll(ctx,
		lock.Claim{Resource: "a", Owner: "me", TTL: time.Minute},
		lock.Claim{Resource: "b", Owner: "you", TTL: lock.NoExpiry},
		lock.Claim{Resource: "c", Owner: "me"}))
	if all[0].TTL > time.Minute || all[1].TTL != lock.NoExpiry || all[1].Owner != "you" {
		t.Errorf("granted %+v", all)
	}
	must[lock.Results](t)(l.Unlock(ctx, all.Claims()[0], all.Claims()[2]))

	rs, err := l.TryLockAll(ctx, lock.Claims("he", "a", "b", "c")...)
	wantErr(t, err, lock.ErrHeld)
	wantErr(t, err, lock.ErrAborted)
	for i, want := range []error{lock.ErrAborted, lock.ErrHeld, lock.ErrAborted} {
		if !errors.Is(rs[i].Err, want) {
			t.Errorf("result %d has %v, want %v", i, rs[i].Err, want)
		}
	}
	if rs[0].Owner != "" || rs[1].Owner != "you" || rs[1].Fence != all[1].Fence {
		t.Errorf("holders told: %+v", rs)
	}
	found := must[lock.Results](t)(l.Owners(ctx, "a", "b", "c"))
	if found[0].Owner != "" || found[1].Owner != "you" || found[2].Owner != "" {
		t.Errorf("after a refused set: %+v", found)
	}
}

func TestTryLockAllTakesAThousand(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	rs := must[lock.Results](t)(l.TryLockAll(ctx, lock.Claims("me", names("r", lock.MaxAll)...)...))
	fences := make(map[int64]bool)
	for _, r := range rs {
		fences[r.Fence] = true
	}
	if len(fences) != lock.MaxAll {
		t.Errorf("%d different fences in one step", len(fences))
	}
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))

	rs, err := l.TryLockAll(ctx, lock.Claims("me", names("r", lock.MaxAll+1)...)...)
	wantErr(t, err, lock.ErrInvalid)
	if len(rs) != lock.MaxAll+1 || len(rs.OK()) != 0 {
		t.Errorf("%d of %d granted", len(rs.OK()), len(rs))
	}
	for r, err := range l.List(ctx, lock.Query{}) {
		t.Fatalf("something was locked: %+v, %v", r, err)
	}
}

func TestTryLockAllWithOneInvalidLocksNone(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	rs, err := l.TryLockAll(ctx, lock.Claims("me", "a", "", "a")...)
	wantErr(t, err, lock.ErrInvalid)
	for i, want := range []error{lock.ErrAborted, lock.ErrInvalid, lock.ErrInvalid} {
		if !errors.Is(rs[i].Err, want) || rs[i].Owner != "" {
			t.Errorf("result %d is %+v, want %v", i, rs[i], want)
		}
	}
	if got := must[lock.Results](t)(l.Owners(ctx, "a")); got[0].Owner != "" {
		t.Errorf("locked: %+v", got)
	}
}

// sameShard finds n names that are in one shard of so many.
func sameShard(n int, shards uint64) []string {
	var found []string
	for _, name := range names("r", 100*n) {
		if xxhash.Sum64String(name)%shards == 7%shards && len(found) < n {
			found = append(found, name)
		}
	}
	return found
}

func TestTryLockAllAcrossShardsWritesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Shards: 64})
		rs, err := l.TryLockAll(ctx, lock.Claims("me", names("r", 10)...)...)
		wantErr(t, err, lock.ErrCrossSlot)
		if len(rs) != 10 || len(rs.OK()) != 0 {
			t.Fatalf("results %+v", rs)
		}
		rdb := w.rdb(t)
		for shard := range 64 {
			for _, key := range keysOf(w.ns, shard) {
				if n := must[int64](t)(rdb.Exists(ctx, key).Result()); n != 0 {
					t.Fatalf("%s was written", key)
				}
			}
		}
		set := sameShard(5, 64)
		must[lock.Results](t)(l.TryLockAll(ctx, lock.Claims("me", set...)...))
		_, err = l.TryLockAll(ctx, lock.Claims("you", set...)...)
		wantErr(t, err, lock.ErrHeld)
	})
}
