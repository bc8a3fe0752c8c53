package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// listed collects a list; a resource that comes twice ends the test.
func listed(t *testing.T, l *lock.Locker, q lock.Query) map[string]lock.Result {
	t.Helper()
	found := make(map[string]lock.Result)
	for r, err := range l.List(bounded(t), q) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if _, twice := found[r.Resource]; twice {
			t.Fatalf("%q came twice", r.Resource)
		}
		found[r.Resource] = r
	}
	return found
}

func TestOwnersTellsWhoHolds(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		held := must[lock.Results](t)(l.TryLock(ctx,
			lock.Claim{Resource: "a", Owner: "me"}, lock.Claim{Resource: "b", Owner: "you", TTL: lock.NoExpiry}))
		rs := must[lock.Results](t)(l.Owners(ctx, "free", "b", "a"))
		if r := rs[0]; r.Resource != "free" || r.Owner != "" || r.Fence != 0 || r.TTL != 0 {
			t.Errorf("free is %+v", r)
		}
		if r := rs[1]; r.Resource != "b" || r.Owner != "you" || r.Fence != held[1].Fence || r.TTL != lock.NoExpiry {
			t.Errorf("b is %+v", r)
		}
		if r := rs[2]; r.Resource != "a" || r.Owner != "me" || r.Fence != held[0].Fence || r.TTL <= 0 {
			t.Errorf("a is %+v", r)
		}
	})
}

func TestListSelects(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "x/1", "x/2", "y/1", "*")...))
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("you", "x/3")...))
		for _, c := range []struct {
			q    lock.Query
			want int
		}{
			{lock.Query{}, 5},
			{lock.Query{Prefix: "x/"}, 3},
			{lock.Query{Prefix: "x"}, 3},
			{lock.Query{Prefix: "*"}, 1},
			{lock.Query{Owner: "me"}, 4},
			{lock.Query{Prefix: "x/", Owner: "you"}, 1},
			{lock.Query{Owner: "nobody"}, 0},
		} {
			if got := listed(t, l, c.q); len(got) != c.want {
				t.Errorf("%+v found %v, want %d", c.q, got, c.want)
			}
		}
	})
}

func TestListPagesThroughThousandsOnceEach(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		const n = 2500
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", n)...)...))
		got := listed(t, l, lock.Query{})
		if len(got) != n {
			t.Fatalf("found %d of %d", len(got), n)
		}
		for _, r := range rs {
			if g := got[r.Resource]; g.Owner != "me" || g.Fence != r.Fence || g.TTL <= 0 {
				t.Fatalf("listed %+v, granted %+v", g, r)
			}
		}
		seen := 0
		for range l.List(ctx, lock.Query{}) {
			if seen++; seen == 3 {
				break
			}
		}
		if seen != 3 {
			t.Errorf("a list that was left gave %d", seen)
		}
	})
}

// HSCAN returns fields again when the hash shrinks under it: each must come
// once, and what is held all the time must come.
func TestListHasNoDoublesWhileItShrinks(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		for round := range 3 {
			l := w.locker(t, lock.Config{Namespace: fmt.Sprint(w.ns, "-", round), Shards: 1})
			held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", 8000)...)...)).Claims()
			found := make(map[string]bool)
			for r, err := range l.List(ctx, lock.Query{}) {
				wantErr(t, err, nil)
				if found[r.Resource] {
					t.Fatalf("%q came twice", r.Resource)
				}
				found[r.Resource] = true
				if len(found) == 500 { // a page; its locks stay, nearly all of the others go
					gone := slices.DeleteFunc(slices.Clone(held), func(c lock.Claim) bool {
						return found[c.Resource] || len(c.Resource) == 2
					})
					must[lock.Results](t)(l.Unlock(ctx, gone...))
				}
			}
			for _, name := range names("r", 10) {
				if !found[name] {
					t.Fatalf("%q is missing, which was held all the time", name)
				}
			}
		}
	})
}

func TestListLeavesOutTheExpired(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "long", Owner: "me"},
			lock.Claim{Resource: "short", Owner: "me", TTL: 20 * time.Millisecond}))
		eventually(t, "the expired one is still listed", func() bool { return len(listed(t, l, lock.Query{})) == 1 })
		if _, ok := listed(t, l, lock.Query{})["long"]; !ok {
			t.Error("long is not listed")
		}
	})
}

func TestListTellsWhyItEnded(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{})
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(why)
		n := 0
		for _, err := range l.List(ctx, lock.Query{}) {
			wantErr(t, err, why)
			n++
		}
		for _, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
			wantErr(t, err, why)
			n++
		}
		if n != 2 {
			t.Errorf("%d errors, want one of each list", n)
		}
	})
}
