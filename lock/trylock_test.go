package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func TestTryLockAnswersEachInputInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("other", "b", "d")...))

		resources := []string{"a", "b", "c", "d", "e"}
		rs, err := l.TryLock(ctx, lock.Claims("me", resources...)...)
		var batch *lock.BatchError
		if !errors.As(err, &batch) || batch.Op != "TryLock" || len(batch.Results) != len(resources) {
			t.Fatalf("error is %#v, want a BatchError with all results", err)
		}
		wantErr(t, err, lock.ErrHeld)
		if len(rs) != len(resources) {
			t.Fatalf("%d results for %d inputs", len(rs), len(resources))
		}
		for i, r := range rs {
			holder, want := "me", error(nil)
			if i%2 == 1 {
				holder, want = "other", lock.ErrHeld
			}
			if r.Resource != resources[i] || r.Owner != holder || !errors.Is(r.Err, want) || r.Fence == 0 || r.TTL <= 0 || r.TTL > 30*time.Second {
				t.Errorf("result %d is %+v, want %q held by %q, error %v", i, r, resources[i], holder, want)
			}
		}
		if ok, refused := rs.OK(), rs.Refused(); len(ok) != 3 || len(refused) != 2 || ok[1].Resource != "c" || refused[1].Resource != "d" {
			t.Errorf("OK %v, Refused %v", ok, refused)
		}
		// What was granted can be extended and unlocked as it is, and only that.
		granted := rs.Claims()
		if len(granted) != 3 {
			t.Fatalf("Claims has %d, want the 3 granted", len(granted))
		}
		must[lock.Results](t)(l.Extend(ctx, granted...))
		must[lock.Results](t)(l.Unlock(ctx, granted...))
	})
}

func TestTryLockWithoutFailureHasNoError(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{})
		rs, err := l.TryLock(bounded(t), lock.Claims("me", names("r", 1234)...)...)
		wantErr(t, err, nil)
		if len(rs.OK()) != 1234 || rs.Refused() != nil {
			t.Fatalf("%d of 1234 granted", len(rs.OK()))
		}
		seen := make(map[int64]bool)
		for _, r := range rs {
			if r.Fence <= 0 {
				t.Fatalf("%q has fence %d", r.Resource, r.Fence)
			}
			seen[r.Fence] = true
		}
		if len(seen) < 1000 {
			t.Errorf("only %d different fences", len(seen))
		}
		rs, err = l.TryLock(bounded(t))
		if err != nil || len(rs) != 0 {
			t.Errorf("no claims: %v, %v", rs, err)
		}
	})
}

func TestTryLockIsNotReentrant(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		first := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
		again, err := l.TryLock(ctx, lock.Claims("me", "r")...)
		wantErr(t, err, lock.ErrHeld)
		if again[0].Owner != "me" || again[0].Fence != first[0].Fence {
			t.Errorf("told %+v, want the first grant %+v", again[0], first[0])
		}
	})
}

func TestTTLIsSetWithTheGrant(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{TTL: time.Hour})
		rs := must[lock.Results](t)(l.TryLock(ctx,
			lock.Claim{Resource: "default", Owner: "me"},
			lock.Claim{Resource: "own", Owner: "me", TTL: time.Minute},
			lock.Claim{Resource: "none", Owner: "me", TTL: lock.NoExpiry},
			lock.Claim{Resource: "short", Owner: "me", TTL: 50 * time.Millisecond}))
		found := must[lock.Results](t)(l.Owners(ctx, "default", "own", "none"))
		for i, most := range []time.Duration{time.Hour, time.Minute, lock.NoExpiry} {
			least := most - 29*time.Second
			if most == lock.NoExpiry {
				least = most
			}
			for _, r := range []lock.Result{rs[i], found[i]} {
				if r.TTL > most || r.TTL < least {
					t.Errorf("%q has %v left, want %v", r.Resource, r.TTL, most)
				}
			}
		}
		if rs[3].TTL > 50*time.Millisecond {
			t.Errorf("short has %v left", rs[3].TTL)
		}
		eventually(t, "the short lock did not expire", func() bool {
			return must[lock.Results](t)(l.Owners(ctx, "short"))[0].Owner == ""
		})
		later := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("you", "short")...))
		if later[0].Fence <= rs[3].Fence {
			t.Errorf("fence %d after %d", later[0].Fence, rs[3].Fence)
		}
		// The expired one's claims release nothing of the new holder's.
		_, err := l.Unlock(ctx, rs.Claims()[3])
		wantErr(t, err, lock.ErrHeld)
		_, err = l.Extend(ctx, rs.Claims()[3])
		wantErr(t, err, lock.ErrHeld)
	})
}

func TestLockerOfAnotherNamespaceHasItsOwnLocks(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		a := w.locker(t, lock.Config{})
		b := w.locker(t, lock.Config{Namespace: w.ns + "-b"})
		must[lock.Results](t)(a.TryLock(ctx, lock.Claims("a", "r")...))
		must[lock.Results](t)(b.TryLock(ctx, lock.Claims("b", "r")...))
	})
}

func TestOnlyOneOfManyIsGranted(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		const callers = 16
		got := make(chan lock.Results, callers)
		for range callers {
			l := w.locker(t, lock.Config{})
			go func() {
				rs, _ := l.TryLock(ctx, lock.Claims("me", names("r", 20)...)...)
				got <- rs
			}()
		}
		granted := make(map[string]int)
		for range callers {
			for _, r := range receive(t, "result", got) {
				if r.Err == nil {
					granted[r.Resource]++
				} else if !errors.Is(r.Err, lock.ErrHeld) {
					t.Errorf("%q: %v", r.Resource, r.Err)
				}
			}
		}
		for _, name := range names("r", 20) {
			if granted[name] != 1 {
				t.Errorf("%q was granted %d times", name, granted[name])
			}
		}
	})
}

func TestBatchErrorNamesWhatFailed(t *testing.T) {
	e := &lock.BatchError{Op: "Unlock", Results: lock.Results{
		{Resource: "fine"},
		{Resource: "a\n", Err: lock.ErrHeld},
		{Resource: "b", Err: context.Canceled},
		{Resource: "c", Err: lock.ErrNotHeld},
		{Resource: "d", Err: lock.ErrNotHeld},
	}}
	const want = `lock: Unlock: 4 of 5 failed; "a\n": lock: held by another; "b": context canceled; "c": lock: not held; …`
	if e.Error() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
	for _, target := range []error{lock.ErrHeld, lock.ErrNotHeld, context.Canceled} {
		wantErr(t, e, target)
	}
	if errors.Is(e, lock.ErrClosed) {
		t.Error("finds what is not there")
	}
}
