package lock_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestGrantOfALateSendIsGivenBack: a claim was sent twice, and its first send is
// executed after what came of it was given back, but within its not-after.
func TestGrantOfALateSendIsGivenBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns, rdb, ctx := s.Namespace(t), s.Client(t), bounded(t)
	l, p := newProxied(t, s, lock.Config{Namespace: ns, TTL: lock.NoExpiry})
	tp := newTap(p)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm")...))
	tp.take()
	late := 0
	for i := range 5 {
		r := fmt.Sprint("r", i)
		p.Stall(redistest.Replies)
		done := make(chan lock.Results, 1)
		go func() {
			rs, _ := l.TryLock(ctx, lock.Claims("me", r)...)
			done <- rs
		}()
		eventually(t, "it is executed", func() bool { return rdb.HExists(ctx, keysOf(ns, 0)[locksAt], r).Val() })
		sent := tp.take()
		p.Cut()
		p.Resume(redistest.Replies)
		rs := receive(t, "the call", done)
		wantErr(t, rs[0].Err, nil)
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
		pass(ctx, 200*time.Millisecond) // the first giving back is over
		_, err := rdb.Do(ctx, sent[len(sent)-1]...).Slice()
		if wantErr(t, err, nil); rdb.HExists(ctx, keysOf(ns, 0)[locksAt], r).Val() {
			late++
		}
		eventually(t, "it is given back", func() bool {
			return !rdb.HExists(ctx, keysOf(ns, 0)[locksAt], r).Val()
		})
	}
	if late == 0 {
		t.Error("no late send was granted")
	}
}
