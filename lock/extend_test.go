package lock_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func TestExtendSetsAndNeverShortens(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		const slack = 29 * time.Second
		granted := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: time.Minute}))
		for _, step := range []struct {
			ttl, want time.Duration
		}{
			{10 * time.Minute, 10 * time.Minute},
			{10 * time.Minute, 10 * time.Minute}, // sets, does not add
			{time.Minute, 10 * time.Minute},      // never shortens
			{time.Hour, time.Hour},
			{lock.NoExpiry, lock.NoExpiry},
			{time.Minute, lock.NoExpiry},
		} {
			for _, fence := range []int64{granted[0].Fence, 0} {
				rs := must[lock.Results](t)(l.Extend(ctx, lock.Claim{Resource: "r", Owner: "me", Fence: fence, TTL: step.ttl}))
				found := must[lock.Results](t)(l.Owners(ctx, "r"))
				for _, r := range []lock.Result{rs[0], found[0]} {
					if r.Owner != "me" || r.Fence != granted[0].Fence || r.TTL > step.want || r.TTL < step.want-slack {
						t.Errorf("extended to %v: %+v, want %v left", step.ttl, r, step.want)
					}
				}
			}
		}
	})
}

func TestExtendAnswersEachInputInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		mine := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a", "b", "c")...))
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("other", "o")...))
		rs, err := l.Extend(ctx,
			lock.Claim{Resource: "o", Owner: "me", TTL: time.Hour},
			lock.Claim{Resource: "a", Owner: "me", TTL: time.Hour},
			lock.Claim{Resource: "free", Owner: "me"},
			lock.Claim{Resource: "b", Owner: "me", Fence: mine[1].Fence, TTL: 2 * time.Hour},
			lock.Claim{Resource: "c", Owner: "me", Fence: mine[2].Fence + 1, TTL: time.Hour},
			lock.Claim{Resource: "a", Owner: "me"})
		var batch *lock.BatchError
		if !errors.As(err, &batch) || batch.Op != "Extend" {
			t.Fatalf("error is %v", err)
		}
		for i, want := range []struct {
			err   error
			owner string
			least time.Duration
		}{
			{lock.ErrHeld, "other", 0},
			{nil, "me", 59 * time.Minute},
			{lock.ErrNotHeld, "", 0},
			{nil, "me", 119 * time.Minute},
			{lock.ErrHeld, "me", 0},
			{lock.ErrInvalid, "", 0},
		} {
			if r := rs[i]; !errors.Is(r.Err, want.err) || r.Owner != want.owner || r.TTL < want.least {
				t.Errorf("result %d is %+v, want %+v", i, r, want)
			}
		}
	})
}

// A lock whose lease has run out is not revived, even if nobody took it.
func TestExtendKeepsAliveWhatWouldExpire(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		rs := must[lock.Results](t)(l.TryLock(ctx,
			lock.Claim{Resource: "kept", Owner: "me", TTL: 2 * time.Second},
			lock.Claim{Resource: "left", Owner: "me", TTL: 2 * time.Second}))
		must[lock.Results](t)(l.Extend(ctx, lock.Claim{Resource: "kept", Owner: "me", Fence: rs[0].Fence, TTL: time.Minute}))
		eventually(t, "no expiry", func() bool {
			return must[lock.Results](t)(l.Owners(ctx, "left"))[0].Owner == ""
		})
		if r := must[lock.Results](t)(l.Owners(ctx, "kept"))[0]; r.Owner != "me" || r.Fence != rs[0].Fence {
			t.Errorf("kept is %+v", r)
		}
		_, err := l.Extend(ctx, lock.Claims("me", "left")...)
		wantErr(t, err, lock.ErrNotHeld)
	})
}
