package lock_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// ended waits for the end of a lease's context and returns its cause.
func ended(t *testing.T, ctx context.Context) error {
	t.Helper()
	receive(t, "the end of the lease", ctx.Done())
	return context.Cause(ctx)
}

// holder is who holds a resource now.
func holder(t *testing.T, l *lock.Locker, resource string) string {
	t.Helper()
	return must[lock.Results](t)(l.Owners(bounded(t), resource))[0].Owner
}

func TestHeldLeaseIsRenewedUntilReleased(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		const ttl = 2 * time.Second
		var mu sync.Mutex
		renewed := make(map[string]int)
		l := w.locker(t, lock.Config{Owner: "default", TTL: ttl, Observers: []func(lock.Event){func(e lock.Event) {
			if e.Kind == lock.EventExtend {
				mu.Lock()
				defer mu.Unlock()
				renewed[e.Resource]++
			}
		}}})
		held := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "hold"}))
		tried := must[*lock.Lease](t)(l.TryHold(ctx, lock.Claim{Resource: "try", Owner: "me", TTL: ttl / 2}))
		kept := must[[]*lock.Lease](t)(l.Keep(ctx, must[lock.Results](t)(l.TryLock(ctx, lock.Claims("k", "k1", "k2")...))...))
		leases := append([]*lock.Lease{held, tried}, kept...)
		for i, want := range []struct{ resource, owner string }{{"hold", "default"}, {"try", "me"}, {"k1", "k"}, {"k2", "k"}} {
			if le := leases[i]; le.Resource() != want.resource || le.Owner() != want.owner || le.Fence() <= 0 || !le.Deadline().After(time.Now()) {
				t.Errorf("lease %d is of %q for %q, fence %d, until %v", i, le.Resource(), le.Owner(), le.Fence(), le.Deadline())
			}
		}
		if n := l.Stats().Leases; n != 4 {
			t.Errorf("Stats tells of %d leases, want 4", n)
		}
		eventually(t, "not renewed for more than a lease time", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return renewed["hold"] >= 4 && renewed["try"] >= 4 && renewed["k1"] >= 4 && renewed["k2"] >= 4
		})
		for _, le := range leases {
			if le.Context().Err() != nil || holder(t, l, le.Resource()) != le.Owner() {
				t.Errorf("%q was lost: %v", le.Resource(), context.Cause(le.Context()))
			}
			wantErr(t, le.Release(ctx), nil)
			wantErr(t, ended(t, le.Context()), lock.ErrReleased)
			wantErr(t, le.Release(ctx), nil) // again
			if h := holder(t, l, le.Resource()); h != "" {
				t.Errorf("%q is still held by %q", le.Resource(), h)
			}
		}
		if n := l.Stats().Leases; n != 0 {
			t.Errorf("Stats tells of %d leases, want none", n)
		}
	})
}

func TestLeaseWithoutExpiryHasNoDeadline(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: lock.NoExpiry}))
	if !le.Deadline().IsZero() {
		t.Errorf("deadline %v", le.Deadline())
	}
	wantErr(t, le.Release(ctx), nil)
}

func TestHoldsContextBoundsTheWaitingOnly(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		type key struct{}
		l := w.locker(t, lock.Config{})
		ctx, cancel := context.WithCancel(context.WithValue(bounded(t), key{}, "value"))
		le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", Owner: "me"}))
		why := errors.New("tired")
		waiting, tire := context.WithCancelCause(bounded(t))
		failed := make(chan error, 1)
		go func() {
			_, err := l.Hold(waiting, lock.Claim{Resource: "r", Owner: "you"})
			failed <- err
		}()
		eventually(t, "nobody waits", func() bool { return l.Stats().Waiters == 1 })
		// The waiter was refused at least once when it stands in the queue.
		rdb := w.rdb(t)
		eventually(t, "nobody is in the queue", func() bool { return queued(t, rdb, w.ns) > 0 })
		tire(why)
		err := receive(t, "the waiter", failed)
		wantErr(t, err, why)
		eventually(t, "the queue still has who left", func() bool { return queued(t, rdb, w.ns) == 0 })

		cancel()
		if le.Context().Err() != nil || le.Context().Value(key{}) != "value" {
			t.Errorf("the lease ended with Hold's context, or lost its values: %v", context.Cause(le.Context()))
		}
		if h := holder(t, l, "r"); h != "me" {
			t.Errorf("held by %q", h)
		}
		wantErr(t, le.Release(bounded(t)), nil)
	})
}

func TestTryHoldDoesNotWait(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		le := must[*lock.Lease](t)(l.TryHold(ctx, lock.Claim{Resource: "r"}))
		none, err := l.TryHold(ctx, lock.Claim{Resource: "r"})
		wantErr(t, err, lock.ErrHeld)
		if none != nil {
			t.Error("a lease and an error")
		}
		wantErr(t, le.Release(ctx), nil)
	})
}

func TestLostLeaseIsNoticedByRenewal(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		for name, take := range map[string]func(l *lock.Locker) error{
			"ForceUnlock": func(l *lock.Locker) error { _, err := l.ForceUnlock(bounded(t), "r"); return err },
			"ForceLock": func(l *lock.Locker) error {
				_, err := l.ForceLock(bounded(t), lock.Claim{Resource: "r", Owner: "thief"})
				return err
			},
			"ForceLockBySameOwner": func(l *lock.Locker) error {
				_, err := l.ForceLock(bounded(t), lock.Claim{Resource: "r", Owner: "me"})
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				lost := make(chan lock.Event, 10)
				l := w.locker(t, lock.Config{Namespace: w.ns + name, TTL: 6 * time.Second, Observers: []func(lock.Event){func(e lock.Event) {
					if e.Kind == lock.EventLost {
						lost <- e
					}
				}}})
				le := must[*lock.Lease](t)(l.Hold(bounded(t), lock.Claim{Resource: "r", Owner: "me"}))
				before := le.Deadline()
				wantErr(t, take(l), nil)
				wantErr(t, ended(t, le.Context()), lock.ErrLeaseLost)
				if time.Until(before) < time.Second { // a renewal is due after 2 s of 6
					t.Errorf("noticed %v before the lease would have run out", time.Until(before))
				}
				wantErr(t, le.Release(bounded(t)), lock.ErrLeaseLost)
				if e := receive(t, "EventLost", lost); e.Resource != "r" || e.Owner != "me" || e.Fence != le.Fence() || e.Held <= 0 || !errors.Is(e.Err, lock.ErrLeaseLost) {
					t.Errorf("event %+v", e)
				}
				if h := holder(t, l, "r"); name == "ForceLock" && h != "thief" {
					t.Errorf("held by %q after the ousted one released", h)
				}
			})
		}
	})
}

func TestReleaseOfAnothersIsLeaseLost(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{}) // no renewal before it is released
		le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", Owner: "me"}))
		must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("me", "r")...))
		wantErr(t, le.Release(ctx), lock.ErrLeaseLost)
		wantErr(t, ended(t, le.Context()), lock.ErrLeaseLost)
		if h := holder(t, l, "r"); h != "me" {
			t.Errorf("held by %q", h)
		}
	})
}

// TestReleaseWithAnEndedContextReleasesAllTheSame: as `defer lease.Release(ctx)`
// has it, where the context was cancelled. Nobody waits for what comes of it.
func TestReleaseWithAnEndedContextReleasesAllTheSame(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{})
		le := must[*lock.Lease](t)(l.Hold(bounded(t), lock.Claim{Resource: "r", TTL: lock.NoExpiry}))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 2 {
			err := le.Release(ctx)
			wantErr(t, err, lock.ErrOutcomeUnknown)
			wantErr(t, err, context.Canceled)
		}
		wantErr(t, ended(t, le.Context()), lock.ErrReleased)
		eventually(t, "the release", func() bool { return holder(t, l, "r") == "" })

		closed := w.locker(t, lock.Config{})
		le = must[*lock.Lease](t)(closed.Hold(bounded(t), lock.Claim{Resource: "r", TTL: lock.NoExpiry}))
		wantErr(t, le.Release(ctx), lock.ErrOutcomeUnknown)
		wantErr(t, closed.Close(), nil) // waits for it
		if h := holder(t, l, "r"); h != "" {
			t.Errorf("still held by %q after Close", h)
		}
	})
}

func TestLapseLetsTheLeaseRunOut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{TTL: 300 * time.Millisecond})
	le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r"}))
	le.Lapse()
	wantErr(t, ended(t, le.Context()), lock.ErrLeaseLost)
	eventually(t, "still held", func() bool { return holder(t, l, "r") == "" })
}

// TestG2LeasesEndWhileALogStandsStill: what is told of one lost lease does not
// delay the end of another.
func TestG2LeasesEndWhileALogStandsStill(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	still, stood := make(chan struct{}), make(chan struct{}, 100)
	core, _ := observer.New(zap.WarnLevel)
	logger := zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "lock: lease lost" {
			stood <- struct{}{}
			<-still
		}
		return nil
	}))
	l := newLocker(t, s, lock.Config{Logger: logger})
	t.Cleanup(sync.OnceFunc(func() { close(still) }))
	first := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "first", TTL: 200 * time.Millisecond}))
	second := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "second", TTL: time.Second}))
	first.Lapse()
	second.Lapse()
	receive(t, "the log's standstill", stood)
	wantErr(t, ended(t, first.Context()), lock.ErrLeaseLost)
	wantErr(t, ended(t, second.Context()), lock.ErrLeaseLost)
}

func TestKeepRefusesWhatWasNotGranted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{})
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a")...))
	refused, _ := l.TryLock(ctx, lock.Claims("me", "a")...)
	found := must[lock.Results](t)(l.Owners(ctx, "a"))
	for _, r := range []lock.Result{{}, refused[0], found[0], {Resource: "a", Owner: "me", Fence: rs[0].Fence}} {
		leases, err := l.Keep(ctx, rs[0], r)
		wantErr(t, err, lock.ErrInvalid)
		if leases != nil {
			t.Errorf("kept %v", leases)
		}
	}
	if n := l.Stats().Leases; n != 0 {
		t.Errorf("%d leases are kept", n)
	}
}

func TestDoReleasesOnEveryWayOut(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{})
		boom := errors.New("boom")
		ways := map[string]func() error{
			"return": func() error { return nil },
			"error":  func() error { return boom },
			"panic":  func() error { panic("boom") },
			"Goexit": func() error { runtime.Goexit(); return nil },
		}
		for name, out := range ways {
			var le *lock.Lease
			var err error
			var recovered any
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recovered = recover() }()
				err = l.Do(bounded(t), lock.Claim{Resource: name, Owner: "me"}, func(ctx context.Context, lease *lock.Lease) error {
					le = lease
					if h := must[lock.Results](t)(l.Owners(ctx, name)); h[0].Owner != "me" || h[0].Fence != lease.Fence() {
						t.Errorf("%s: held by %+v", name, h)
					}
					return out()
				})
			}()
			receive(t, name, done)
			switch name {
			case "error":
				wantErr(t, err, boom)
			case "panic":
				if recovered != "boom" {
					t.Errorf("recovered %v: the panic must go on", recovered)
				}
			default:
				wantErr(t, err, nil)
			}
			wantErr(t, ended(t, le.Context()), lock.ErrReleased)
			if h := holder(t, l, name); h != "" {
				t.Errorf("after %s it is held by %q", name, h)
			}
		}
	})
}

func TestDosContextEndsWithTheLeaseAndWithTheCaller(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{TTL: time.Second})
		err := l.Do(bounded(t), lock.Claim{Resource: "r"}, func(ctx context.Context, _ *lock.Lease) error {
			must[lock.Results](t)(l.ForceUnlock(bounded(t), "r"))
			return ended(t, ctx)
		})
		wantErr(t, err, lock.ErrLeaseLost)

		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(bounded(t))
		err = l.Do(ctx, lock.Claim{Resource: "r"}, func(ctx context.Context, le *lock.Lease) error {
			cancel(why)
			cause := ended(t, ctx)
			if le.Context().Err() != nil || holder(t, l, "r") == "" {
				t.Error("released while f still runs")
			}
			return cause
		})
		wantErr(t, err, why)
		if h := holder(t, l, "r"); h != "" {
			t.Errorf("held by %q, though the caller's context ended before the release", h)
		}
	})
}

func TestDoWaitsItsTurn(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		const callers = 8
		inside := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for range callers {
			l := w.locker(t, lock.Config{})
			wg.Go(func() {
				err := l.Do(bounded(t), lock.Claim{Resource: "r"}, func(context.Context, *lock.Lease) error {
					select {
					case inside <- struct{}{}:
						<-inside
					default:
						t.Error("two at the same time")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// TestKeepWantsAGrant: what Extend returned without an entry cannot be kept.
func TestKeepWantsAGrant(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, ctx := newLocker(t, s, lock.Config{}), bounded(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
	more := must[lock.Results](t)(l.Extend(ctx, lock.Claim{Resource: "r", Owner: "me", Fence: rs[0].Fence}))
	if _, err := l.Keep(ctx, more...); err != nil && !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("Keep: %v", err)
	} else if err == nil {
		t.Error("Keep took what names no grant")
	}
}

// A grant whose answer takes longer than its lease lasts is none to begin with:
// what is handed out has ended already.
func TestG2GrantThatArrivesTooLateHasEnded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	const ttl = 100 * time.Millisecond
	l, p := newProxied(t, s, lock.Config{TTL: ttl})
	must[lock.Results](t)(l.Owners(ctx, "r")) // the connection, the clock and the script are there
	p.Delay(3 * ttl)
	for name, hold := range map[string]func() (*lock.Lease, error){
		"Hold":    func() (*lock.Lease, error) { return l.Hold(ctx, lock.Claim{Resource: "held"}) },
		"TryHold": func() (*lock.Lease, error) { return l.TryHold(ctx, lock.Claim{Resource: "tried"}) },
	} {
		if cause := context.Cause(must[*lock.Lease](t)(hold()).Context()); !errors.Is(cause, lock.ErrLeaseLost) {
			t.Errorf("the lease that %s returns late has cause %v", name, cause)
		}
	}
	err := l.Do(ctx, lock.Claim{Resource: "done"}, func(context.Context, *lock.Lease) error {
		t.Error("Do has begun")
		return nil
	})
	wantErr(t, err, lock.ErrLeaseLost)
}
