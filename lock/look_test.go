package lock_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// OnLook runs on the goroutine that called Await; if it ends that, the next who
// waits there is served as if nobody had been before.
func TestALookThatDoesNotReturnLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	for name, end := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			ctx := bounded(t)
			ns := s.Namespace(t)
			l := newLocker(t, s, lock.Config{Namespace: ns})
			held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "job")...))
			claim := lock.JobClaim{ID: lock.JobID{Key: "job"}, TTL: time.Minute, MaxAttempts: 1}
			gone := make(chan any, 1)
			go func() {
				defer func() { gone <- recover() }()
				c := claim
				c.OnLook = func(lock.Look) { end() }
				_, _, _ = l.Jobs().Await(ctx, c)
			}()
			if got := receive(t, "the end of the goroutine", gone); name == "panic" && got != "ouch" {
				t.Errorf("recovered %v", got)
			}
			must[lock.Results](t)(l.Unlock(ctx, held.Claims()...))
			le, _, err := l.Jobs().Await(ctx, claim)
			wantErr(t, err, nil)
			wantErr(t, le.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
		})
	}
}

func TestAwaitTellsWhatItDoes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: s.Namespace(t)})
	held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "job")...))
	refused := make(chan lock.Look, 10)
	granted := make(chan error, 1)
	again := make(chan struct{}, 10)
	go func() {
		_, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: "job"}, TTL: time.Minute, MaxAttempts: 1, OnLook: func(look lock.Look) {
			if look.Again {
				again <- struct{}{}
			} else {
				refused <- look
			}
		}})
		granted <- err
	}()
	if look := receive(t, "a refusal", refused); look.Result.Grant.Owner != "me" || look.Result.Grant.Err == nil {
		t.Errorf("look %+v", look)
	}
	must[lock.Results](t)(l.Unlock(ctx, held.Claims()...))
	receive(t, "another look", again)
	wantErr(t, receive(t, "the grant", granted), nil)
}

func TestWatchSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	ns := s.Namespace(t)
	one := newLocker(t, s, lock.Config{Namespace: ns, Shards: 1})
	must[lock.Results](t)(one.TryLock(ctx, lock.Claims("me", "a")...))
	two := newLocker(t, s, lock.Config{Namespace: ns, Shards: 2})
	_, err := two.Watch(context.WithoutCancel(ctx))
	wantErr(t, err, lock.ErrShardMismatch)
}
