package lock_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// events watches until the test ends.
func events(t testing.TB, l *lock.Locker, kinds ...lock.EventKind) <-chan lock.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sequence, err := l.Watch(ctx, kinds...)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	out := make(chan lock.Event, 1<<14)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range sequence {
			out <- e
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return out
}

// expire locks something that expires.
func expire(ctx context.Context, t testing.TB, l *lock.Locker, names ...string) {
	t.Helper()
	claims := lock.Claims("watched", names...)
	for i := range claims {
		claims[i].TTL = lock.MinTTL
	}
	must[lock.Results](t)(l.TryLock(ctx, claims...))
	eventually(t, "expiry", func() bool {
		return !slices.ContainsFunc(must[lock.Results](t)(l.Owners(ctx, names...)), func(r lock.Result) bool { return r.Owner != "" })
	})
}

func describe(e lock.Event) string {
	return fmt.Sprintf("%v %s %s %d", e.Kind, e.Resource, e.Owner, e.Fence)
}

// TestWatchSeesWhatOthersPublish: locks, releases and extensions, in order.
func TestWatchSeesWhatOthersPublish(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Publish: true})
		quiet := w.locker(t, lock.Config{})
		seen := events(t, w.locker(t, lock.Config{}))
		var want []string
		expect := func(kind string, rs lock.Results, from lock.Results) {
			for i := range rs {
				want = append(want, fmt.Sprintf("%s %s %s %d", kind, rs[i].Resource, "me", from[i].Fence))
			}
		}
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
		expect("lock", rs, rs)
		expect("extend", must[lock.Results](t)(l.Extend(ctx, rs.Claims()...)), rs)
		expect("unlock", must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...)), rs)
		q := must[lock.Results](t)(quiet.TryLock(ctx, lock.Claims("me", "r")...)) // nobody is told
		must[lock.Results](t)(quiet.Unlock(ctx, q.Claims()...))
		rs = must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("me", "r")...))
		expect("lock", rs, rs)
		lease := must[*lock.Lease](t)(w.locker(t, lock.Config{Publish: true}).Hold(ctx, lock.Claim{Resource: "s", Owner: "me"}))
		want = append(want, fmt.Sprintf("lock s me %d", lease.Fence()))
		wantErr(t, lease.Release(ctx), nil)
		want = append(want, fmt.Sprintf("unlock s me %d", lease.Fence()))
		var got []string
		for range want {
			e := receive(t, "an event", seen)
			if e.Time.IsZero() {
				t.Errorf("no time: %+v", e)
			}
			got = append(got, describe(e))
		}
		for _, seen := range [][]string{got, want} { // the order holds for one resource
			slices.SortStableFunc(seen, func(a, b string) int { return cmp.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("seen\n%q\nwant\n%q", got, want)
		}
	})
}

// TestWatchSeesTheEndOfEachAttempt with what it came to.
func TestWatchSeesTheEndOfEachAttempt(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventJob)
	tests := []struct {
		end     lock.End
		max     int
		state   lock.JobState
		attempt int
	}{
		{lock.Done, 3, lock.JobDone, 1},
		{lock.Failed, 3, lock.JobFailed, 1},
		{lock.Failed, 1, lock.JobExhausted, 1},
		{lock.Exhausted, 3, lock.JobExhausted, 1},
		{lock.Returned, 3, lock.JobAbsent, 0},
	}
	for i, tt := range tests {
		id := lock.JobID{Key: fmt.Sprint("job", i), Run: "run"}
		g := must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: "w", MaxAttempts: tt.max}))[0].Grant
		must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: tt.end, Cause: "because"}))
		e := receive(t, "an event", seen)
		if e.Kind != lock.EventJob || e.Job == nil {
			t.Fatalf("seen %+v", e)
		}
		j := e.Job
		if j.ID != id || j.State != tt.state || j.Attempt != tt.attempt || j.Cause != "because" || e.Fence != g.Fence || e.Owner != "w" {
			t.Errorf("%v of %d attempts: seen %+v of %+v", tt.end, tt.max, j, e)
		}
	}
}

// TestWatchIsToldOfLostData: the numbers of events begin anew.
func TestWatchIsToldOfLostData(t *testing.T) {
	t.Parallel()
	losses := map[string]func(t *testing.T, s *redistest.Server){
		"FLUSHALL": func(t *testing.T, s *redistest.Server) { wantErr(t, s.Client(t).FlushAll(bounded(t)).Err(), nil) },
		"restart":  func(_ *testing.T, s *redistest.Server) { s.Kill(); s.Restart() },
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Own)
			ns := s.Namespace(t)
			ctx := bounded(t)
			l := newLocker(t, s, lock.Config{Namespace: ns})
			seen := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventExpire)
			expire(ctx, t, l, "before")
			if e := receive(t, "an event", seen); e.Kind != lock.EventExpire {
				t.Fatalf("seen %+v", e)
			}
			must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "lost")...))
			lose(t, s)
			if e := receive(t, "an event", seen); e.Kind != lock.EventMissed {
				t.Errorf("seen %+v", e)
			}
			expire(ctx, t, l, "after")
			for e := receive(t, "an event", seen); e.Resource != "after"; e = receive(t, "an event", seen) {
				if e.Kind != lock.EventMissed {
					t.Errorf("seen %+v", e)
				}
			}
		})
	}
}

// TestWatchIsToldOfLostMessages: dropped on their way, connections unharmed.
func TestWatchIsToldOfLostMessages(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	watcher, p := newProxied(t, s, lock.Config{Namespace: ns})
	seen := events(t, watcher, lock.EventExpire)
	p.DropMessages(nil)
	began := time.Now()
	expire(ctx, t, l, "lost")
	if e := receive(t, "an event", seen); e.Kind != lock.EventMissed {
		t.Errorf("seen %+v", e)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("told after %v", took)
	}
	p.PassMessages()
	expire(ctx, t, l, "after")
	if e := receive(t, "an event", seen); e.Resource != "after" {
		t.Errorf("seen %+v", e)
	}
}

// TestEventsWithoutMemoryAreNotLost: a release is told though the number of its
// event cannot be stored.
func TestEventsWithoutMemoryAreNotLost(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns, rdb, ctx := s.Namespace(t), s.Client(t), bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: ns, Publish: true})
	told := events(t, newLocker(t, s, lock.Config{Namespace: ns}), lock.EventLock, lock.EventUnlock)
	next := func(kind lock.EventKind, resource string) {
		t.Helper()
		e := receive(t, kind.String()+" of "+resource, told)
		for e.Kind == lock.EventMissed {
			e = receive(t, kind.String()+" of "+resource, told)
		}
		if e.Kind != kind || e.Resource != resource {
			t.Errorf("%v of %q came, want %v of %q", e.Kind, e.Resource, kind, resource)
		}
	}
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a")...))
	next(lock.EventLock, "a")
	wantErr(t, rdb.ConfigSet(ctx, "maxmemory", "1").Err(), nil)
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	next(lock.EventUnlock, "a")
	wantErr(t, rdb.ConfigSet(ctx, "maxmemory", "0").Err(), nil)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "b")...))
	next(lock.EventLock, "b")
}
