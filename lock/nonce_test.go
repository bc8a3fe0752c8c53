package lock_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A tap remembers the scripts that pass a proxy.
type tap struct {
	mu   sync.Mutex
	sent [][]any
}

func newTap(p *redistest.Proxy) *tap {
	tp := &tap{}
	script := redistest.Named("evalsha", "eval")
	p.DropRequests(func(command []string) bool { // none, ever
		if script(command) {
			tp.note(command)
		}
		return false
	}, 1, redistest.ThenCut)
	return tp
}

func (tp *tap) note(command []string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	args := make([]any, len(command))
	for i, a := range command {
		args[i] = a
	}
	tp.sent = append(tp.sent, args)
}

// take returns what has passed since it was called last.
func (tp *tap) take() [][]any {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	sent := tp.sent
	tp.sent = nil
	return sent
}

// TestG8NonceIsUsedUp: a claim that arrives once more, after its attempt has
// ended, changes nothing.
func TestG8NonceIsUsedUp(t *testing.T) {
	t.Parallel()
	id := lock.JobID{Key: "job", Run: "run"}
	settle := func(end lock.End) func(context.Context, *testing.T, *lock.Locker, lock.Result) {
		return func(ctx context.Context, t *testing.T, l *lock.Locker, g lock.Result) {
			must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: end}))
		}
	}
	ends := map[string]func(context.Context, *testing.T, *lock.Locker, lock.Result){
		"done":      settle(lock.Done),
		"failed":    settle(lock.Failed),
		"exhausted": settle(lock.Exhausted),
		"returned":  settle(lock.Returned),
		"lapsed": func(ctx context.Context, t *testing.T, l *lock.Locker, g lock.Result) {
			eventually(t, "the end of the lease", func() bool {
				return must[lock.Results](t)(l.Owners(ctx, id.Key))[0].Owner == ""
			})
		},
		"lapsed, and another attempt failed": func(ctx context.Context, t *testing.T, l *lock.Locker, g lock.Result) {
			eventually(t, "another attempt", func() bool {
				rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Retention: time.Minute, MaxAttempts: 5})
				if err == nil {
					settle(lock.Failed)(ctx, t, l, rs[0].Grant)
				}
				return err == nil
			})
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns := s.Namespace(t)
			rdb := s.Client(t)
			ctx := bounded(t)
			l, p := newProxied(t, s, lock.Config{Namespace: ns})
			tp := newTap(p)
			must[lock.Results](t)(l.Owners(ctx, "r")) // learns the clock, so that the claim is sent once
			tp.take()
			g := must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: id, TTL: 100 * time.Millisecond, Retention: time.Minute, MaxAttempts: 5}))[0]
			claim := tp.take()
			end(ctx, t, l, g.Grant)
			before := snapshot(t, rdb, ns)
			reply, err := rdb.Do(ctx, claim[len(claim)-1]...).Slice()
			if err != nil || reply[0] != "ok" {
				t.Fatalf("the late claim: %v %v", reply, err)
			}
			if after := snapshot(t, rdb, ns); after != before {
				t.Errorf("a late claim, answered %q, has changed\n%s\nto\n%s", reply[2], before, after)
			}
		})
	}
}

// TestG8LateClaimChangesNothing: after its not-after has passed, also one of a
// plain lock, and one that was never executed.
func TestG8LateClaimChangesNothing(t *testing.T) {
	t.Parallel()
	claims := map[string]func(ctx context.Context, l *lock.Locker){
		"TryLock":    func(ctx context.Context, l *lock.Locker) { _, _ = l.TryLock(ctx, lock.Claims("me", "r")...) },
		"TryLockAll": func(ctx context.Context, l *lock.Locker) { _, _ = l.TryLockAll(ctx, lock.Claims("me", "r", "s")...) },
		"ForceLock":  func(ctx context.Context, l *lock.Locker) { _, _ = l.ForceLock(ctx, lock.Claims("me", "r")...) },
		"Hold":       func(ctx context.Context, l *lock.Locker) { _, _ = l.Hold(ctx, lock.Claim{Resource: "r"}) },
		"Claim": func(ctx context.Context, l *lock.Locker) {
			_, _ = l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: "r"}, MaxAttempts: 1})
		},
		"TryAwaitSome": func(ctx context.Context, l *lock.Locker) {
			_, _, _ = l.Jobs().TryAwaitSome(ctx, 1, lock.JobClaim{ID: lock.JobID{Key: "r"}, MaxAttempts: 1})
		},
		"Unlock by owner": func(ctx context.Context, l *lock.Locker) { _, _ = l.Unlock(ctx, lock.Claims("other", "r")...) },
		"ForceUnlock":     func(ctx context.Context, l *lock.Locker) { _, _ = l.ForceUnlock(ctx, "r") },
	}
	for name, claim := range claims {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns := s.Namespace(t)
			rdb := s.Client(t)
			ctx := bounded(t)
			l, p := newProxied(t, s, lock.Config{Namespace: ns})
			tp := newTap(p)
			must[lock.Results](t)(l.Owners(ctx, "r"))
			tp.take()
			claim(ctx, l)
			sent := tp.take()
			other := newLocker(t, s, lock.Config{Namespace: ns})
			_, _ = other.ForceUnlock(ctx, "r", "s")
			must[lock.Results](t)(other.TryLock(ctx, lock.Claims("other", "r")...))
			eventually(t, "the late claim", func() bool {
				before := snapshot(t, rdb, ns)
				reply := must[[]any](t)(rdb.Do(ctx, sent[len(sent)-1]...).Slice())
				if reply[0] != "late" {
					return false
				}
				if after := snapshot(t, rdb, ns); after != before {
					t.Errorf("a late claim has changed\n%s\nto\n%s", before, after)
				}
				return true
			})
		})
	}
}
