package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func newLocker(t *testing.T, s *redistest.Server, cfg lock.Config) *lock.Locker {
	t.Helper()
	l, err := lock.New(s.Client(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestSmoke(t *testing.T) {
	s := redistest.Start(t, redistest.Any)
	ctx := context.Background()
	ns := s.Namespace(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	l2 := newLocker(t, s, lock.Config{Namespace: ns})
	rs, err := l.TryLock(ctx, lock.Claims("me", "a", "b")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(rs)
	rs2, err := l2.TryLock(ctx, lock.Claims("you", "a", "c")...)
	t.Log(rs2, err)
	if !errors.Is(err, lock.ErrHeld) {
		t.Fatal(err)
	}
	ow, err := l.Owners(ctx, "a", "b", "c", "d")
	t.Log(ow, err)
	ex, err := l.Extend(ctx, rs.Claims()...)
	t.Log(ex, err)
	for r, err := range l.List(ctx, lock.Query{}) {
		t.Log("list", r, err)
	}
	ev, err := l2.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = ev
	done := make(chan error, 1)
	go func() {
		le, err := l2.Hold(ctx, lock.Claim{Resource: "a"})
		if err == nil {
			err = le.Release(ctx)
		}
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	un, err := l.Unlock(ctx, rs.Claims()...)
	t.Log(un, err)
	start := time.Now()
	t.Log(<-done, time.Since(start))

	id := lock.JobID{Key: "job", Run: "1"}
	jl, res, err := l.Jobs().Await(ctx, lock.JobClaim{ID: id, MaxAttempts: 2, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", res)
	go func() {
		jl2, res, err := l2.Jobs().Await(ctx, lock.JobClaim{ID: id, MaxAttempts: 2, TTL: time.Second})
		t.Logf("%+v %v", res, err)
		if err == nil {
			err = jl2.Settle(ctx, lock.Settlement{End: lock.Done})
		}
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := jl.Settle(ctx, lock.Settlement{End: lock.Failed, Cause: "why not"}); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	t.Log(<-done, time.Since(start))
	infos, err := l.Jobs().Get(ctx, id)
	t.Logf("%+v %v", infos, err)
	for i, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
		t.Logf("%+v %v", i, err)
	}
	t.Log(l.Jobs().Reset(ctx, id))
	n := 0
	for e := range ev {
		t.Logf("%+v", e)
		n++
		if n == 2 {
			break
		}
	}
}
