package gocronworker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func newLocker(t *testing.T, l *lock.Locker, cfg gocronworker.LockerConfig) *gocronworker.Locker {
	t.Helper()
	locker, err := gocronworker.NewLocker(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		_ = locker.Close(ctx)
	})
	return locker
}

// Three schedulers whose ticks are the same, but for some lateness: one runs it, although its job has ended when the others
// come.
func TestLockerRunsATickOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	ran, refused := make(chan string, 10), make(chan error, 10)
	for _, name := range []string{"a", "b", "c"} {
		clock := clockwork.NewFakeClock()
		locker := newLocker(t, c.locker(name), gocronworker.LockerConfig{AtLeast: time.Minute})
		s := scheduler(t, gocron.WithDistributedLocker(locker), gocron.WithClock(clock))
		ended := make(chan struct{})
		_, err := s.NewJob(gocron.DurationJob(time.Hour), gocron.NewTask(func() { ran <- name }), gocron.WithName("job"),
			gocron.WithEventListeners(
				gocron.AfterJobRuns(func(uuid.UUID, string) { close(ended) }),
				gocron.AfterLockError(func(_ uuid.UUID, _ string, err error) {
					refused <- err
					close(ended)
				})))
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		clock.Advance(time.Hour)
		receive(t, ended)
	}
	if who := receive(t, ran); who != "a" || len(ran) > 0 {
		t.Errorf("%s ran, and %d others", who, len(ran))
	}
	for range 2 {
		if err := receive(t, refused); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("Lock: %v", err)
		}
	}
}

func TestLockerIsExclusive(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := newLocker(t, c.locker("a"), gocronworker.LockerConfig{AtLeast: time.Nanosecond})
	b := newLocker(t, c.locker("b"), gocronworker.LockerConfig{})
	held, err := a.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*gocronworker.Locker{a, b} {
		if _, err := l.Lock(t.Context(), "job"); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("a lock that is held: %v", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // as gocron's context is at Shutdown
	if err := held.Unlock(ended); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	if _, err := b.Lock(t.Context(), "job"); err != nil {
		t.Errorf("a lock that was given back: %v", err)
	}
}

// However soon the job ends, its name stays locked.
func TestLockerHoldsAtLeast(t *testing.T) {
	t.Parallel()
	const atLeast = 500 * time.Millisecond
	c := newCluster(t)
	a := newLocker(t, c.locker("a"), gocronworker.LockerConfig{AtLeast: atLeast, TTL: 10 * time.Second})
	b := c.locker("b")
	began := time.Now()
	held, err := a.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	lease, err := b.Hold(ctx, lock.Claim{Resource: "gocron/job"})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < atLeast {
		t.Errorf("it was free after %v", took)
	}
	_ = lease.Release(t.Context())
}

// Close ends the renewal, and the lock is held all the same.
func TestLockerClose(t *testing.T) {
	t.Parallel()
	const atLeast = time.Minute
	c := newCluster(t)
	inner := c.locker("a")
	a := newLocker(t, inner, gocronworker.LockerConfig{AtLeast: atLeast, TTL: 10 * time.Second, OnError: func(name string, err error) {
		t.Errorf("%s: %v", name, err)
	}})
	b := c.locker("b")
	began := time.Now()
	for _, name := range []string{"job", "other"} {
		held, err := a.Lock(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= atLeast {
		t.Errorf("Close took %v", took)
	}
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	owners, err := b.Owners(t.Context(), "gocron/job", "gocron/other")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range owners {
		if rest := atLeast - time.Since(began); o.Owner != "a" || o.TTL > atLeast || o.TTL < rest-time.Second {
			t.Errorf("%+v, with %v to go", o, rest)
		}
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("Close, again: %v", err)
	}
}

// gocron's Locker cannot stop a job, but it can say that its lock is lost.
func TestLockerReportsLostLeases(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	lost := make(chan error, 10)
	a := newLocker(t, c.lockerThrough(proxy, "a"), gocronworker.LockerConfig{TTL: 300 * time.Millisecond, OnError: func(name string, err error) {
		if name != "job" {
			t.Errorf("OnError of %q", name)
		}
		lost <- err
	}})
	held, err := a.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Stall(redistest.Both)
	if err := receive(t, lost); !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("OnError: %v", err)
	}
	proxy.Heal()
	proxy.Cut()
	_ = held.Unlock(t.Context())
}

// With a Redis that does not answer, too.
func TestLockHeedsItsContext(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := newLocker(t, c.lockerThrough(proxy, "a"), gocronworker.LockerConfig{})
	proxy.Refuse(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Lock(ctx, "job"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock: %v", err)
	}
}

func TestWrongLockers(t *testing.T) {
	t.Parallel()
	l := newCluster(t).locker("a")
	for name, cfg := range map[string]gocronworker.LockerConfig{
		"AtLeast": {AtLeast: -1}, "TTL": {TTL: 1}, "negative TTL": {TTL: -1}, "no end": {TTL: lock.NoExpiry},
	} {
		if _, err := gocronworker.NewLocker(l, cfg); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := gocronworker.NewLocker(nil, gocronworker.LockerConfig{}); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("no Locker: %v", err)
	}
	if _, err := gocronworker.NewElector(nil, gocronworker.ElectorConfig{}); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("no Locker: %v", err)
	}
	if _, err := gocronworker.NewElector(l, gocronworker.ElectorConfig{TTL: lock.NoExpiry}); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("no end: %v", err)
	}
}
