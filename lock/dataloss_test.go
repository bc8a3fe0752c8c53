package lock_test

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestG3FencesGrow: also after Redis has lost its data.
func TestG3FencesGrow(t *testing.T) {
	t.Parallel()
	restart := func(t *testing.T, s *redistest.Server) { s.Kill(); s.Restart() }
	tests := map[string]struct {
		options []redistest.Option
		lose    func(t *testing.T, s *redistest.Server)
		kept    bool
	}{
		"nothing lost": {nil, func(*testing.T, *redistest.Server) {}, true},
		"FLUSHALL": {nil, func(t *testing.T, s *redistest.Server) {
			wantErr(t, s.Client(t).FlushAll(bounded(t)).Err(), nil)
		}, false},
		"restart without persistence":   {nil, restart, false},
		"restart with append-only file": {[]redistest.Option{redistest.AppendOnly()}, restart, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Own, tt.options...)
			l := newLocker(t, s, lock.Config{})
			ctx := bounded(t)
			id := lock.JobID{Key: "job"}
			var last int64
			grow := func(fence int64) {
				t.Helper()
				if fence <= last {
					t.Fatalf("fence %d after %d", fence, last)
				}
				last = fence
			}
			lockOnce := func() {
				t.Helper()
				rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
				grow(rs[0].Fence)
				must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
				rs = must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("me", names("x", 1500)...)...)) // several scripts
				for _, r := range rs {
					grow(r.Fence)
				}
				must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
				g := claimedJob(ctx, t, l, id, time.Minute).Grant
				grow(g.Fence)
				must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: lock.Returned}))
			}
			for range 3 {
				lockOnce()
				kept := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "kept")...))
				grow(kept[0].Fence)
				tt.lose(t, s)
				now := must[lock.Results](t)(l.Owners(ctx, "kept"))
				if (now[0].Fence == kept[0].Fence) != tt.kept {
					t.Fatalf("the lock is %+v afterwards, it was %+v", now[0], kept[0])
				}
				if tt.kept {
					must[lock.Results](t)(l.Unlock(ctx, kept.Claims()...))
				}
			}
			lockOnce()
		})
	}
}
