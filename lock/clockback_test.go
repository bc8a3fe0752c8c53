package lock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestG3FencesGrowWhileTheClockIsBehind: the server's clock was set back by an
// hour, so the last fence is ahead of it; whatever grants, and by whatever way
// through the scripts, goes on from that fence.
func TestG3FencesGrowWhileTheClockIsBehind(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	id := lock.JobID{Key: "job"}
	ways := map[string]func(ctx context.Context) (lock.Results, error){
		"TryLock":    func(ctx context.Context) (lock.Results, error) { return l.TryLock(ctx, lock.Claims("me", "r")...) },
		"TryLockAll": func(ctx context.Context) (lock.Results, error) { return l.TryLockAll(ctx, lock.Claims("me", "r")...) },
		"ForceLock":  func(ctx context.Context) (lock.Results, error) { return l.ForceLock(ctx, lock.Claims("me", "r")...) },
		"Hold": func(ctx context.Context) (lock.Results, error) {
			le, err := l.Hold(ctx, lock.Claim{Resource: "r", Owner: "me"})
			if err != nil {
				return nil, err
			}
			return lock.Results{{Resource: "r", Owner: "me", Fence: le.Fence()}}, nil
		},
		"Claim": func(ctx context.Context) (lock.Results, error) {
			rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: "me", TTL: time.Minute, MaxAttempts: 100})
			return lock.Results{rs[0].Grant}, err
		},
	}
	must[lock.Results](t)(l.Owners(ctx, "r"))
	meta := keysOf(ns, 0)[0]
	ahead := time.Now().Add(time.Hour).UnixMicro()
	wantErr(t, s.Client(t).HSet(ctx, meta, "shards", "1", "fence", fmt.Sprintf("%016d", ahead)).Err(), nil)
	last := ahead * 1000
	for range 3 {
		for name, grant := range ways {
			rs := must[lock.Results](t)(grant(ctx))
			if rs[0].Fence/1000 <= last/1000 {
				t.Errorf("%s: fence %d after %d", name, rs[0].Fence, last)
			}
			last = rs[0].Fence
			must[lock.Results](t)(l.ForceUnlock(ctx, rs[0].Resource))
		}
	}
}
