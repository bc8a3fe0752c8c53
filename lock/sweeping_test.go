package lock_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestGrantsClearAwayMoreThanTheyAdd, one by one, and with nobody watching: what
// dead holders leave behind does not pile up.
func TestGrantsClearAwayMoreThanTheyAdd(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, rdb, ctx := newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t), bounded(t)
	const many, ttl = 300, 10 * time.Millisecond
	grant := map[string]func(name string){
		"lock": func(name string) {
			must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: name, Owner: "me", TTL: ttl}))
		},
		"claim": func(name string) {
			lease := must[*lock.Lease](t)(l.TryHold(ctx, lock.Claim{Resource: name, TTL: ttl}))
			lease.Lapse()
		},
	}
	for kind, one := range grant {
		for i := range many {
			one(fmt.Sprint(kind, " left behind ", i))
		}
	}
	pass(ctx, 2*ttl)
	for kind, one := range grant {
		for i := range many {
			one(fmt.Sprint(kind, " ", i))
		}
	}
	keys := keysOf(ns, 0)
	for _, key := range keys[1:3] {
		n := rdb.HLen(ctx, key).Val()
		if n == 0 {
			n = rdb.ZCard(ctx, key).Val()
		}
		if n > many {
			t.Errorf("%s has %d entries after %d grants, of which most have run out", key, n, 4*many)
		}
	}
}
