package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func acquire(t *testing.T, cfg Config, l *fakeLease) (*Grant, *calls) {
	t.Helper()
	w, _, c := newFake(t, cfg, grants(l))
	grant, err := w.Acquire(t.Context(), testJob)
	if err != nil {
		t.Fatal(err)
	}
	return grant, c
}

func TestGrantIsSettledOnce(t *testing.T) {
	done := func(g *Grant) error { return g.Done(context.Background()) }
	fail := func(g *Grant) error { return g.Fail(context.Background(), errWork) }
	permanent := func(g *Grant) error { return g.Fail(context.Background(), Permanent(errWork)) }
	giveBack := func(g *Grant) error { return g.GiveBack(context.Background()) }
	tests := []struct {
		name          string
		first, second func(*Grant) error
		want          error // of the second
		end           lock.End
	}{
		{"done twice", done, done, nil, lock.Done},
		{"done, then fail", done, fail, ErrSettled, lock.Done},
		{"done, then give back", done, giveBack, ErrSettled, lock.Done},
		{"fail twice", fail, fail, nil, lock.Failed},
		{"fail for good, then fail", permanent, fail, nil, lock.Exhausted},
		{"fail, then done", fail, done, ErrSettled, lock.Failed},
		{"give back twice", giveBack, giveBack, nil, lock.Returned},
		{"give back, then done", giveBack, done, ErrSettled, lock.Returned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				g, _ := acquire(t, Config{}, l)
				if err := tt.first(g); err != nil {
					t.Errorf("first: %v", err)
				}
				synctest.Wait()
				if cause := context.Cause(g.Context()); cause != lock.ErrReleased {
					t.Errorf("the context ended with %v", cause)
				}
				if err := tt.second(g); err != tt.want {
					t.Errorf("second: %v, want %v", err, tt.want)
				}
				wantEnds(t, l, tt.end)
			})
		})
	}
}

func TestStaleHolderCannotSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		g, c := acquire(t, Config{}, l)
		l.end(lock.ErrLeaseLost)
		<-g.Context().Done()
		for range 2 {
			wantIs(t, g.Done(t.Context()), lock.ErrLeaseLost)
			wantIs(t, g.Fail(t.Context(), errWork), lock.ErrLeaseLost)
			wantIs(t, g.GiveBack(t.Context()), lock.ErrLeaseLost)
		}
		synctest.Wait()
		wantEnds(t, l)
		wantCalls(t, c, "acquired #1", "lost #1")
	})
}

func TestGrantThatRedisSaysIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		l.settle = func(context.Context, lock.Settlement) error {
			l.end(lock.ErrLeaseLost)
			return lock.ErrLeaseLost
		}
		g, c := acquire(t, Config{}, l)
		wantIs(t, g.Done(t.Context()), lock.ErrLeaseLost)
		synctest.Wait()
		wantCalls(t, c, "acquired #1", "lost #1") // told once
	})
}

func TestGrantMaySettleAgainAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		failure := errors.Join(lock.ErrOutcomeUnknown, context.DeadlineExceeded)
		l.settle = func(context.Context, lock.Settlement) error { return failure }
		g, c := acquire(t, Config{}, l)
		wantIs(t, g.Done(t.Context()), lock.ErrOutcomeUnknown)
		failure = nil
		if err := g.Done(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		wantCalls(t, c, "acquired #1", "done #1")
	})
}

// TestG9GrantThatMayBeSettledAsksRedis: after an outcome that is not known, the end
// of the lease decides nothing: Redis may have remembered the first answer.
func TestG9GrantThatMayBeSettledAsksRedis(t *testing.T) {
	for name, answer := range map[string]error{"settled": nil, "not settled": lock.ErrLeaseLost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				failure := lock.ErrOutcomeUnknown
				l.settle = func(context.Context, lock.Settlement) error { return failure }
				g, c := acquire(t, Config{}, l)
				wantIs(t, g.Done(t.Context()), lock.ErrOutcomeUnknown)
				l.end(lock.ErrLeaseLost)
				synctest.Wait()
				failure = answer
				if err := g.Done(t.Context()); !errors.Is(err, answer) {
					t.Errorf("Done again: %v, want %v", err, answer)
				}
				if len(l.settled) != 2 {
					t.Errorf("Redis was asked %d times", len(l.settled))
				}
				synctest.Wait()
				if answer == nil {
					wantCalls(t, c, "acquired #1", "lost #1", "done #1")
				} else {
					wantCalls(t, c, "acquired #1", "lost #1")
				}
			})
		})
	}
}

func TestGrantFailureWithoutCause(t *testing.T) {
	l := attempt(1)
	g, _ := acquire(t, Config{}, l)
	if err := g.Fail(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got := l.settled[0].Cause; got != "worker: failed without a cause" {
		t.Errorf("cause %q", got)
	}
}

func TestGrantAndContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := attempt(1)
		w, _, _ := newFake(t, Config{WorkTimeout: time.Minute}, grants(l))
		g, err := w.Acquire(ctx, testJob)
		if err != nil {
			t.Fatal(err)
		}
		cancel() // bounded the waiting only
		if err := g.Context().Err(); err != nil {
			t.Errorf("the work's context ended with Acquire's: %v", err)
		}
		for range 10 {
			wantIs(t, g.Done(ctx), context.Canceled)
		}
		var none context.Context
		wantIs(t, g.Done(none), lock.ErrInvalid)
		wantEnds(t, l)

		<-g.Context().Done()
		if cause := context.Cause(g.Context()); cause != ErrWorkTimeout {
			t.Errorf("cause %v", cause)
		}
		if err := g.Done(t.Context()); err != nil { // the lease is kept
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if l.lapsed() {
			t.Error("the clock goes on after the attempt was settled")
		}
	})
}

func TestSettlingWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		release := make(chan struct{})
		l.settle = func(context.Context, lock.Settlement) error { <-release; return nil }
		g, _ := acquire(t, Config{}, l)
		first := make(chan error)
		go func() { first <- g.Done(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantIs(t, g.Done(ctx), context.DeadlineExceeded)
		close(release)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// A handler may settle, as redis-locking-worker's users do in "acquired".
func TestHandlerMaySettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		w, _, _ := newFake(t, Config{}, grants(l))
		granted := make(chan *Grant, 1)
		w.cfg.Handlers.OnAcquired = func(Attempt) {
			if err := (<-granted).Done(context.Background()); err != nil {
				t.Error(err)
			}
		}
		g, err := w.Acquire(t.Context(), testJob)
		if err != nil {
			t.Fatal(err)
		}
		granted <- g
		<-g.Context().Done()
		wantEnds(t, l, lock.Done)
	})
}

func TestAcquiredGrantWhoseLeaseIsOverHasEnded(t *testing.T) {
	late := attempt(1)
	late.end(lock.ErrLeaseLost)
	w, _, _ := newFake(t, Config{}, grants(late))
	g, err := w.Acquire(t.Context(), testJob)
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, context.Cause(g.Context()), lock.ErrLeaseLost)
	wantIs(t, g.Done(t.Context()), lock.ErrLeaseLost)
}
