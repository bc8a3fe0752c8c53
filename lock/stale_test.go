package lock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// isDeadline tells whether an error names the end of its context as the reason.
func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// TestG5StaleHolderChangesNothing: whatever has become of a lock, its former
// holder's calls are refused, and what stands in Redis is the same before and after.
func TestG5StaleHolderChangesNothing(t *testing.T) {
	t.Parallel()
	id := lock.JobID{Key: "job", Run: "run"}
	const ttl = 50 * time.Millisecond
	// What has become of it; the settlement's error is always ErrLeaseLost.
	states := map[string]struct {
		become func(ctx context.Context, t *testing.T, other *lock.Locker)
		unlock error
	}{
		"lapsed, nobody noticed": {func(context.Context, *testing.T, *lock.Locker) {}, lock.ErrNotHeld},
		"held by another": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			claimedJob(ctx, t, other, id, time.Minute)
		}, lock.ErrHeld},
		"held by another for another run": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			claimedJob(ctx, t, other, lock.JobID{Key: id.Key, Run: "next"}, time.Minute)
		}, lock.ErrHeld},
		"held as a plain lock": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			must[lock.Results](t)(other.TryLock(ctx, lock.Claim{Resource: id.Key, Owner: "worker", TTL: time.Minute}))
		}, lock.ErrHeld},
		"done by another": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			endedJob(ctx, t, other, id, lock.Done)
		}, lock.ErrNotHeld},
		"failed by another": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			endedJob(ctx, t, other, id, lock.Failed)
		}, lock.ErrNotHeld},
		"exhausted by another": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			endedJob(ctx, t, other, id, lock.Exhausted)
		}, lock.ErrNotHeld},
		"given back by another": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			endedJob(ctx, t, other, id, lock.Returned)
		}, lock.ErrNotHeld},
		"forgotten": {func(ctx context.Context, t *testing.T, other *lock.Locker) {
			wantErr(t, other.Jobs().Reset(ctx, id), nil)
		}, lock.ErrNotHeld},
	}
	for name, state := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns := s.Namespace(t)
			rdb := s.Client(t)
			ctx := bounded(t)
			l, other := newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns})
			stale := claimedJob(ctx, t, l, id, ttl).Grant
			eventually(t, "the end of the lease", func() bool {
				return must[lock.Results](t)(l.Owners(ctx, id.Key))[0].Owner == ""
			})
			state.become(ctx, t, other)
			before := snapshot(t, rdb, ns)

			for _, end := range []lock.End{lock.Done, lock.Failed, lock.Exhausted, lock.Returned} {
				_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: stale, ID: id, End: end, Delay: time.Hour, Cause: "stale"})
				if wantErr(t, err, lock.ErrLeaseLost); snapshot(t, rdb, ns) != before {
					t.Fatalf("a stale settlement as %v has changed\n%s\nto\n%s", end, before, snapshot(t, rdb, ns))
				}
			}
			granted := lock.Results{stale}.Claims()
			byFence := []lock.Claim{{Resource: stale.Resource, Owner: stale.Owner, Fence: stale.Fence}}
			for _, claims := range [][]lock.Claim{granted, byFence} {
				_, err := l.Unlock(ctx, claims...)
				if wantErr(t, err, state.unlock); snapshot(t, rdb, ns) != before {
					t.Fatalf("a stale Unlock has changed\n%s\nto\n%s", before, snapshot(t, rdb, ns))
				}
				_, err = l.Extend(ctx, claims...)
				if wantErr(t, err, state.unlock); snapshot(t, rdb, ns) != before {
					t.Fatalf("a stale Extend has changed\n%s\nto\n%s", before, snapshot(t, rdb, ns))
				}
			}
			leases := must[[]*lock.Lease](t)(l.Keep(ctx, stale)) // its time is over
			receive(t, "the end of the lease", leases[0].Context().Done())
			wantErr(t, leases[0].Release(ctx), lock.ErrLeaseLost)
			if after := snapshot(t, rdb, ns); after != before {
				t.Fatalf("a stale lease has changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestG4DoneIsSettledOnce: of several who hold a grant of one run, one after
// another, only the one whose grant is valid settles it.
func TestG4DoneIsSettledOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	id := lock.JobID{Key: "job", Run: "run"}
	var grants []lock.Result
	for range 5 {
		eventually(t, "a grant", func() bool {
			rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: "w", TTL: 30 * time.Millisecond, MaxAttempts: 9})
			if err == nil {
				grants = append(grants, rs[0].Grant)
			}
			return err == nil
		})
	}
	last := claimedWhenFree(ctx, t, l, id)
	for i, g := range grants {
		_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: lock.Done})
		if wantErr(t, err, lock.ErrLeaseLost); err == nil {
			t.Errorf("grant %d settled", i)
		}
	}
	must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: last, ID: id, End: lock.Done}))
	info := must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, id))[0]
	if info.State != lock.JobDone || info.Fence != last.Fence {
		t.Errorf("the record is %+v", info)
	}
	if _, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, MaxAttempts: 9}); err == nil {
		t.Error("a done run was granted again")
	} else {
		wantErr(t, err, lock.ErrJobDone)
	}
}

// claimedJob claims an attempt that is free.
func claimedJob(ctx context.Context, t testing.TB, l *lock.Locker, id lock.JobID, ttl time.Duration) lock.JobResult {
	t.Helper()
	return must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: "worker", TTL: ttl, MaxAttempts: 5}))[0]
}

// claimedWhenFree claims an attempt until it is free.
func claimedWhenFree(ctx context.Context, t testing.TB, l *lock.Locker, id lock.JobID) (granted lock.Result) {
	t.Helper()
	eventually(t, "a grant", func() bool {
		rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, TTL: time.Minute, MaxAttempts: 9})
		if err == nil {
			granted = rs[0].Grant
		}
		return err == nil
	})
	return granted
}

// endedJob claims an attempt and ends it.
func endedJob(ctx context.Context, t testing.TB, l *lock.Locker, id lock.JobID, end lock.End) {
	t.Helper()
	g := claimedJob(ctx, t, l, id, time.Minute).Grant
	must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: end}))
}
