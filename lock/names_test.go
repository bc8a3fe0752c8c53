package lock_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/lock"
)

// odd are names that a storage could trip over.
var odd = []string{
	"plain", "{", "}", "{}", "{a}b", "a{b}c}", "\x00", "a\x00b", "\n", "\r\n", "*1\r\n$1\r\n", "\xff\xfe", "a\xffb", "\xff", "\xff\xff",
	"*", "?", "[a-z]", "\\", "%d", "'", "\"", " ", "  ", ":", "a:b", "ä€😀", "L", "O", "J", "f", "r", "0", "0001a", "0005plainp0000",
	"-", "_", "\x1b[31m", strings.Repeat("{", lock.MaxName), strings.Repeat("\xff", lock.MaxName), strings.Repeat("é", lock.MaxName/2),
}

func TestNamesOfAnyBytesAreLocked(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		claims := make([]lock.Claim, len(odd))
		for i, name := range odd {
			claims[i] = lock.Claim{Resource: name, Owner: odd[len(odd)-1-i]}
		}
		rs := must[lock.Results](t)(l.TryLock(ctx, claims...))
		found := must[lock.Results](t)(l.Owners(ctx, odd...))
		list := listed(t, l, lock.Query{})
		if len(list) != len(odd) {
			t.Errorf("%d of %d are listed", len(list), len(odd))
		}
		for i, name := range odd {
			for what, r := range map[string]lock.Result{"granted": rs[i], "found": found[i], "listed": list[name]} {
				if r.Resource != name || r.Owner != claims[i].Owner || r.Fence != rs[i].Fence {
					t.Errorf("%s %q: %+v", what, name, r)
				}
			}
			if got := listed(t, l, lock.Query{Prefix: name, Owner: claims[i].Owner}); got[name].Fence != rs[i].Fence {
				t.Errorf("%q is not found by prefix and owner: %v", name, got)
			}
		}
		must[lock.Results](t)(l.Extend(ctx, claims...))
		must[lock.Results](t)(l.Unlock(ctx, claims...))
		for _, name := range odd {
			le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: name, Owner: name}))
			wantErr(t, le.Release(ctx), nil)
		}
	})
}

func TestNamesOfAnyBytesAreJobs(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		claims := make([]lock.JobClaim, len(odd))
		ids := make([]lock.JobID, len(odd))
		for i, name := range odd {
			ids[i] = lock.JobID{Key: name, Run: odd[(i+7)%len(odd)]}
			claims[i] = lock.JobClaim{ID: ids[i], Owner: odd[len(odd)-1-i], MaxAttempts: 3, Retention: lock.NoExpiry}
		}
		rs, err := l.Jobs().Claim(ctx, claims...)
		wantErr(t, err, nil)
		settlements := make([]lock.Settlement, len(odd))
		for i := range odd {
			settlements[i] = lock.Settlement{Grant: rs[i].Grant, ID: ids[i], End: lock.Failed, Cause: odd[(i+3)%len(odd)], Retention: lock.NoExpiry}
		}
		must[lock.Results](t)(l.Jobs().Settle(ctx, settlements...))
		infos, err := l.Jobs().Get(ctx, ids...)
		wantErr(t, err, nil)
		list := make(map[lock.JobID]lock.JobInfo)
		for info, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
			wantErr(t, err, nil)
			list[info.ID] = info
		}
		for i, id := range ids {
			for what, info := range map[string]lock.JobInfo{"got": infos[i], "listed": list[id]} {
				if info.ID != id || info.State != lock.JobFailed || info.Owner != claims[i].Owner || info.Cause != settlements[i].Cause {
					t.Errorf("%s %+v: %+v", what, id, info)
				}
			}
		}
		wantErr(t, l.Jobs().Reset(ctx, ids...), nil)
	})
}

// Waiting goes through the queue and through a message, which hold names too.
func TestNamesOfAnyBytesAreWaitedFor(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		a, b := w.locker(t, lock.Config{Owner: "a"}), w.locker(t, lock.Config{Owner: "b"})
		held := must[lock.Results](t)(a.TryLock(ctx, lock.Claims("a", odd...)...))
		got := make(chan error, len(odd))
		for _, name := range odd {
			go func() {
				got <- b.Do(ctx, lock.Claim{Resource: name}, func(_ context.Context, le *lock.Lease) error {
					if le.Resource() != name || le.Owner() != "b" {
						return fmt.Errorf("lease of %q for %q", le.Resource(), le.Owner())
					}
					return nil
				})
			}()
		}
		rdb := w.rdb(t)
		eventually(t, "not all are queued", func() bool { return queued(t, rdb, w.ns) == int64(2*len(odd)) })
		must[lock.Results](t)(a.Unlock(ctx, held.Claims()...))
		for range odd {
			wantErr(t, receive(t, "a lock", got), nil)
		}
		if n := queued(t, rdb, w.ns); n != 0 {
			t.Errorf("%d members are left in the queues", n)
		}
	})
}
