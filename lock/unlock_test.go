package lock_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func TestUnlockIsForItsOwnerOnly(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a", "b", "c", "d")...))
		fence := func(i int, off int64) int64 { return rs[i].Fence + off }
		got, err := l.Unlock(ctx,
			lock.Claim{Resource: "free", Owner: "me"},
			lock.Claim{Resource: "a", Owner: "you"},
			lock.Claim{Resource: "b", Owner: "me", Fence: fence(1, -1)},
			lock.Claim{Resource: "c", Owner: "me", Fence: fence(2, 0)},
			lock.Claim{Resource: "d", Owner: "me"},
			lock.Claim{Resource: "alsofree", Owner: "me", Fence: 7})
		var batch *lock.BatchError
		if !errors.As(err, &batch) || batch.Op != "Unlock" {
			t.Fatalf("error is %v", err)
		}
		for i, want := range []struct {
			err    error
			holder string
			fence  int64
		}{
			{lock.ErrNotHeld, "", 0},
			{lock.ErrHeld, "me", rs[0].Fence},
			{lock.ErrHeld, "me", rs[1].Fence},
			{nil, "", 0},
			{nil, "", 0},
			{lock.ErrNotHeld, "", 0},
		} {
			if r := got[i]; !errors.Is(r.Err, want.err) || r.Owner != want.holder || r.Fence != want.fence {
				t.Errorf("result %d is %+v, want %+v", i, r, want)
			}
		}
		found := must[lock.Results](t)(l.Owners(ctx, "a", "b", "c", "d"))
		for i, holder := range []string{"me", "me", "", ""} {
			if found[i].Owner != holder {
				t.Errorf("%q is held by %q, want %q", found[i].Resource, found[i].Owner, holder)
			}
		}
	})
}

// What Results.Claims returned may be changed by the caller.
func TestAnAlteredClaimIsTakenByItsWord(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		granted := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a")...)).Claims()[0]
		for _, alter := range []func(c *lock.Claim){
			func(c *lock.Claim) { c.Owner = "you" },
			func(c *lock.Claim) { c.Fence++ },
			func(c *lock.Claim) { c.Owner, c.Fence = "you", 0 },
		} {
			c := granted
			alter(&c)
			_, err := l.Unlock(ctx, c)
			wantErr(t, err, lock.ErrHeld)
			_, err = l.Extend(ctx, c)
			wantErr(t, err, lock.ErrHeld)
		}
		c := granted
		c.Fence = 0
		must[lock.Results](t)(l.Unlock(ctx, c))
	})
}

func TestUnlockAfterExpiryIsNotHeld(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: lock.MinTTL}))
		eventually(t, "no expiry", func() bool {
			return must[lock.Results](t)(l.Owners(ctx, "r"))[0].Owner == ""
		})
		for _, claims := range [][]lock.Claim{rs.Claims(), lock.Claims("me", "r")} {
			_, err := l.Unlock(ctx, claims...)
			wantErr(t, err, lock.ErrNotHeld)
			_, err = l.Extend(ctx, claims...)
			wantErr(t, err, lock.ErrNotHeld)
		}
		_, err := l.ForceUnlock(ctx, "r")
		wantErr(t, err, lock.ErrNotHeld)
	})
}

func TestForceUnlockReleasesAnybodys(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		rs := must[lock.Results](t)(l.TryLock(ctx,
			lock.Claim{Resource: "a", Owner: "*"},
			lock.Claim{Resource: "b", Owner: "you", TTL: lock.NoExpiry}))
		got, err := l.ForceUnlock(ctx, "a", "free", "b", "", "a")
		for i, want := range []error{nil, lock.ErrNotHeld, nil, lock.ErrInvalid, lock.ErrInvalid} {
			if !errors.Is(got[i].Err, want) || got[i].Owner != "" {
				t.Errorf("result %d is %+v, want %v", i, got[i], want)
			}
		}
		wantErr(t, err, lock.ErrNotHeld)
		_, err = l.Unlock(ctx, rs.Claims()...)
		wantErr(t, err, lock.ErrNotHeld)
	})
}

// "*" is an owner like any other where an owner is named.
func TestOwnerStarIsNotAnybody(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
		for _, owner := range []string{"*", "W", "Wme", "F", "L", ""} {
			_, err := l.Unlock(ctx, lock.Claim{Resource: "r", Owner: owner})
			if err == nil {
				t.Fatalf("owner %q released another's lock", owner)
			}
		}
	})
}

func TestForceLockOusts(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		old := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "a", Owner: "old", TTL: lock.NoExpiry}))
		rs := must[lock.Results](t)(l.ForceLock(ctx,
			lock.Claim{Resource: "a", Owner: "new", TTL: time.Minute}, lock.Claim{Resource: "free", Owner: "new"}))
		if rs[0].Owner != "new" || rs[0].Fence <= old[0].Fence || rs[0].TTL > time.Minute {
			t.Errorf("got %+v after %+v", rs[0], old[0])
		}
		for name, call := range map[string]func() (lock.Results, error){
			"Extend": func() (lock.Results, error) { return l.Extend(ctx, old.Claims()...) },
			"Unlock": func() (lock.Results, error) { return l.Unlock(ctx, old.Claims()...) },
		} {
			got, err := call()
			if !errors.Is(err, lock.ErrHeld) || got[0].Owner != "new" || got[0].Fence != rs[0].Fence {
				t.Errorf("%s by the ousted: %+v, %v", name, got, err)
			}
		}
		again := must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("new", "a")...))
		if again[0].Fence <= rs[0].Fence {
			t.Errorf("fence %d after %d", again[0].Fence, rs[0].Fence)
		}
	})
}
