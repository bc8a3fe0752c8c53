package lock_test

import (
	"context"
	"sync"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestFencesGrowWithEveryGrant(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		last := make(map[string]int64)
		for range 3 {
			l := w.locker(t, lock.Config{})
			for _, grant := range []func(context.Context, ...lock.Claim) (lock.Results, error){l.TryLock, l.ForceLock} {
				for _, r := range must[lock.Results](t)(grant(ctx, lock.Claims("me", names("r", 50)...)...)) {
					if r.Fence <= last[r.Resource] {
						t.Fatalf("%q got fence %d after %d", r.Resource, r.Fence, last[r.Resource])
					}
					last[r.Resource] = r.Fence
				}
			}
			must[lock.Results](t)(l.Unlock(ctx, lock.Claims("me", names("r", 50)...)...))
		}
	})
}

func TestFencesGrowAfterDataWasLost(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ctx := bounded(t)
	rdb := s.Client(t)
	l := newLocker(t, s, lock.Config{})
	var last int64
	for i := range 6 {
		if i%2 == 1 {
			must[string](t)(rdb.FlushAll(ctx).Result())
		} else {
			must[string](t)(rdb.ScriptFlush(ctx).Result())
		}
		rs := must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("me", "r")...))
		if rs[0].Fence <= last {
			t.Fatalf("fence %d after %d", rs[0].Fence, last)
		}
		last = rs[0].Fence
	}
}

// The script cache is emptied before each call, and all the time besides, so
// that also some chunks of a pipeline find it and others do not.
func TestScriptFlushInsidePipelinesIsNotNoticed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ctx := bounded(t)
	rdb := s.Client(t)
	l, p := newProxied(t, s, lock.Config{})
	warm := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm")...)) // sets up the shard
	must[lock.Results](t)(l.Unlock(ctx, warm.Claims()...))
	stop := make(chan struct{})
	var flushing sync.WaitGroup
	defer flushing.Wait()
	defer close(stop)
	for _, each := range []struct{ loop bool }{{false}, {true}} {
		if each.loop {
			flushing.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						rdb.ScriptFlush(ctx)
					}
				}
			})
		}
		resources := names("r", 2600) // six chunks
		for range 3 {
			must[string](t)(rdb.ScriptFlush(ctx).Result())
			p.ResetCounters()
			rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", resources...)...))
			// All six are sent again, the first with the source for all of them.
			if n := p.Commands(); !each.loop && (n["eval"] != 1 || n["evalsha"] != 6+5) {
				t.Fatalf("%v: the test proves nothing", n)
			}
			for i, r := range must[lock.Results](t)(l.Owners(ctx, resources...)) {
				if r.Owner != "me" || r.Fence != rs[i].Fence {
					t.Fatalf("%q is %+v, granted %+v", r.Resource, r, rs[i])
				}
			}
			must[lock.Results](t)(l.Extend(ctx, rs.Claims()...))
			must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
		}
	}
}

// On the Cluster each node has a cache of its own.
func TestScriptFlushOnEveryNodeIsNotNoticed(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ctx := bounded(t)
	rdb := c.Client(t)
	l := newLockerOn(t, rdb, lock.Config{Namespace: c.Namespace(t)})
	for range 3 {
		must[string](t)(rdb.ScriptFlush(ctx).Result())
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", 500)...)...))
		must[string](t)(rdb.ScriptFlush(ctx).Result())
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	}
}
