//go:build unix

package lock_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// watch starts a watching child that is live.
func watch(t testing.TB, s *redistest.Server, ns, url string) *child {
	t.Helper()
	c := spawn(t, s, order{Role: "watcher", Namespace: ns, URL: url})
	c.await("live")
	return c
}

// until takes a watcher's events up to the expiry of a lock of this name.
func (c *child) until(last string) []step {
	c.t.Helper()
	var events []step
	for {
		e := c.await("event")
		if e.Resource == last {
			return events
		}
		events = append(events, e)
	}
}

// TestEveryWatcherSeesEachExpiryOnce: 100 locks expire, half of them are granted
// anew at once; 100 are unlocked, 100 renewed, 100 have no expiry.
func TestEveryWatcherSeesEachExpiryOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	children := make([]*child, 3)
	for i := range children {
		children[i] = watch(t, s, ns, "")
	}
	const soon = 400 * time.Millisecond
	with := func(ttl time.Duration, prefix string) []lock.Claim {
		claims := lock.Claims("me", names(prefix, 100)...)
		for i := range claims {
			claims[i].TTL = ttl
		}
		return claims
	}
	must[lock.Results](t)(l.TryLock(ctx, with(lock.NoExpiry, "endless")...))
	unlocked := must[lock.Results](t)(l.TryLock(ctx, with(soon, "unlocked")...))
	renewed := must[lock.Results](t)(l.TryLock(ctx, with(soon, "renewed")...)).Claims()
	for i := range renewed {
		renewed[i].TTL = time.Hour
	}
	must[lock.Results](t)(l.Extend(ctx, renewed...))
	must[lock.Results](t)(l.Unlock(ctx, unlocked.Claims()...))
	expiring := must[lock.Results](t)(l.TryLock(ctx, with(soon, "expiring")...))
	again := with(time.Hour, "expiring")[:50]
	eventually(t, "the locks to be granted anew", func() bool {
		rs, err := l.TryLock(ctx, again...)
		var left []lock.Claim
		for i, r := range rs {
			if r.Err != nil {
				left = append(left, again[i])
			}
		}
		again = left
		return err == nil
	})
	eventually(t, "the expiry of the others", func() bool {
		rs := must[lock.Results](t)(l.Owners(ctx, names("expiring", 100)[50:]...))
		return !slices.ContainsFunc(rs, func(r lock.Result) bool { return r.Owner != "" })
	})
	expire(ctx, t, l, "last")

	want := make(map[string]int64)
	for _, r := range expiring {
		want[r.Resource] = r.Fence
	}
	for i, c := range children {
		got := make(map[string]int64)
		for _, e := range c.until("last") {
			if e.Kind != "expire" {
				t.Errorf("watcher %d: %+v", i, e)
				continue
			}
			if _, twice := got[e.Resource]; twice {
				t.Errorf("watcher %d saw the expiry of %s twice", i, e.Resource)
			}
			got[e.Resource] = e.Fence
		}
		if !maps.Equal(got, want) {
			t.Errorf("watcher %d saw %d expiries, want %d: %v", i, len(got), len(want), got)
		}
	}

	// Killing one changes nothing for the others.
	children[1].kill()
	_, _ = children[1].cmd.Process.Wait()
	expire(ctx, t, l, names("later", 20)...)
	expire(ctx, t, l, "the very last")
	for _, i := range []int{0, 2} {
		var got []string
		for _, e := range children[i].until("the very last") {
			got = append(got, e.Resource)
		}
		slices.Sort(got)
		later := names("later", 20)
		slices.Sort(later)
		if !slices.Equal(got, later) {
			t.Errorf("watcher %d saw %v", i, got)
		}
	}
}

// TestWatcherThatWasCutOffIsTold: the events that it missed are not repeated,
// but it learns that there were some.
func TestWatcherThatWasCutOffIsTold(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	p := redistest.NewProxy(t, s.Addr())
	cut := watch(t, s, ns, "redis://"+p.Addr())
	other := watch(t, s, ns, "")
	expire(ctx, t, l, "before")
	cut.until("before")
	other.until("before")

	p.Refuse(true)
	p.Cut()
	expire(ctx, t, l, names("missed", 10)...)
	expire(ctx, t, l, "meanwhile")
	if events := other.until("meanwhile"); len(events) != 10 {
		t.Errorf("the other watcher saw %+v", events)
	}
	p.Heal()
	if e := cut.await("event"); e.Kind != "missed" {
		t.Errorf("the watcher that was cut off saw %+v first", e)
	}
	expire(ctx, t, l, "after")
	for _, e := range cut.until("after") {
		if e.Kind != "missed" {
			t.Errorf("the watcher that was cut off saw %+v", e)
		}
	}
}
