package lock_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// FuzzIndexes puts anything into the sorted sets of a shard: of what expires, of
// who waits, of what is to be forgotten. They are hints: nobody loses a lock, a
// record or an attempt by it, and nobody is kept from one.
func FuzzIndexes(f *testing.F) {
	f.Add("r", int64(0))
	f.Add("f0001rp0000"+"0001795000000000"+"AbCdEfGhI-_", int64(0))
	f.Add("r0001rp0000"+"AbCdEfGhI-_"+"0001795000000000", int64(0))
	f.Add("0003jobj0003run", int64(0))
	f.Add(strings.Join(many, "\x00"), int64(1))
	f.Add(strings.Repeat("\x00", 600), int64(1))
	f.Add("r\x00"+strings.Repeat("x", 600)+"\x00r\x00r", int64(1795000000000))
	f.Add(strings.Repeat("r\x00", 600), int64(-1))
	for _, value := range foreign {
		f.Add(value, int64(99999999999999))
	}
	s := redistest.Start(f, redistest.Any)
	ns := s.Namespace(f)
	rdb := s.Client(f)
	l := newLocker(f, s, lock.Config{Namespace: ns})
	keys := keysOf(ns, 0)
	f.Fuzz(func(t *testing.T, member string, score int64) {
		ctx := bounded(t)
		wantErr(t, rdb.Del(ctx, keys[1:]...).Err(), nil)
		held := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: time.Hour}))
		held = append(held, must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", many...)...))...)
		d := desk{t, l}
		job := d.granted(claimOf(anyRun))
		d.settle(job, lock.Settlement{End: lock.Failed, Retention: time.Hour})
		for _, key := range []string{keys[2], keys[3], keys[5]} {
			wantErr(t, rdb.ZAdd(ctx, key, redis.Z{Score: float64(score), Member: member}).Err(), nil)
		}
		// Each of these sweeps, reads the queue, or forgets.
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "free")...))
		for _, r := range must[lock.Results](t)(l.Owners(ctx, append(many, "r")...)) {
			if r.Owner != "me" {
				t.Fatalf("%q in the indexes: %q is held by %q", member, r.Resource, r.Owner)
			}
		}
		if member != "0003jobj0003run" || score <= 0 { // then its retention was set
			_ = d.get(anyRun)
		}
		must[lock.Results](t)(l.Extend(ctx, held.Claims()...))
		must[lock.Results](t)(l.Unlock(ctx, held.Claims()...))
		other := claimOf(lock.JobID{Key: "another"})
		if r := d.granted(other); r.Job.Attempt != 1 {
			t.Fatalf("%q in the indexes: attempt %d", member, r.Job.Attempt)
		}
	})
}
