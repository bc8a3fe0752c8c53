package lock_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestAnotherNumberOfShardsIsRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		first := w.locker(t, lock.Config{Shards: 4})
		second := w.locker(t, lock.Config{Shards: 5})
		must[lock.Results](t)(first.TryLock(ctx, lock.Claims("me", "a")...))
		// Also on resources whose shards nobody has used yet.
		rs, err := second.TryLock(ctx, lock.Claims("you", names("r", 50)...)...)
		wantErr(t, err, lock.ErrShardMismatch)
		if len(rs.OK()) != 0 {
			t.Fatalf("granted %+v", rs.OK())
		}
		id := lock.JobID{Key: "job"}
		for name, call := range map[string]func() error{
			"Extend":      func() error { _, err := second.Extend(ctx, lock.Claims("me", "a")...); return err },
			"Unlock":      func() error { _, err := second.Unlock(ctx, lock.Claims("me", "a")...); return err },
			"ForceLock":   func() error { _, err := second.ForceLock(ctx, lock.Claims("me", "a")...); return err },
			"ForceUnlock": func() error { _, err := second.ForceUnlock(ctx, "a"); return err },
			"Owners":      func() error { _, err := second.Owners(ctx, "a"); return err },
			"Hold":        func() error { _, err := second.Hold(ctx, lock.Claim{Resource: "a"}); return err },
			"Claim": func() error {
				_, err := second.Jobs().Claim(ctx, lock.JobClaim{ID: id, MaxAttempts: 1})
				return err
			},
			"Get":   func() error { _, err := second.Jobs().Get(ctx, id); return err },
			"Reset": func() error { return second.Jobs().Reset(ctx, id) },
			"List": func() error {
				for _, err := range second.List(ctx, lock.Query{}) {
					return err
				}
				return nil
			},
		} {
			t.Run(name, func(t *testing.T) { wantErr(t, call(), lock.ErrShardMismatch) })
		}
		must[lock.Results](t)(first.Unlock(ctx, lock.Claims("me", "a")...))
	})
}

// After a flush the namespace is new; whoever comes first sets its shards, and
// a shard never belongs to two numbers.
func TestShardsAreGuardedAfterAFlush(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ctx := bounded(t)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	lockers := [2]*lock.Locker{
		newLocker(t, s, lock.Config{Namespace: ns, Shards: 1}),
		newLocker(t, s, lock.Config{Namespace: ns, Shards: 3}),
	}
	must[lock.Results](t)(lockers[0].TryLock(ctx, lock.Claims("me", names("r", 20)...)...))
	for _, winner := range []int{1, 0, 1} {
		must[string](t)(rdb.FlushAll(ctx).Result())
		must[lock.Results](t)(lockers[winner].TryLock(ctx, lock.Claims("me", names("r", 20)...)...))
		rs, err := lockers[1-winner].TryLock(ctx, lock.Claims("you", names("x", 20)...)...)
		wantErr(t, err, lock.ErrShardMismatch)
		if len(rs.OK()) != 0 {
			t.Fatalf("the other number of shards was granted %v", rs.OK())
		}
		must[lock.Results](t)(lockers[winner].Unlock(ctx, lock.Claims("me", names("r", 20)...)...))
	}
}

// The two Lockers meet on an empty server at the same time.
func TestShardsAreGuardedInARace(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	for range 20 {
		ns := s.Namespace(t)
		granted := make(chan int, 2)
		for _, shards := range []int{1, 3} {
			l := newLocker(t, s, lock.Config{Namespace: ns, Shards: shards})
			go func() {
				rs, _ := l.TryLock(ctx, lock.Claims("me", names("r", 20)...)...)
				granted <- len(rs.OK())
			}()
		}
		if a, b := receive(t, "result", granted), receive(t, "result", granted); a+b != 20 {
			t.Fatalf("granted %d and %d of 20", a, b)
		}
	}
}

// Each shard is six keys, whatever is in it, and a name never becomes a key.
func TestAShardIsSixKeys(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Shards: 2})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("{x}", 100)...)...))
		for _, id := range names("job{y}", 20) {
			rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: id}, MaxAttempts: 1})
			wantErr(t, err, nil)
			_, err = l.Jobs().Settle(ctx, lock.Settlement{Grant: rs[0].Grant, ID: rs[0].Job.ID, End: lock.Done})
			wantErr(t, err, nil)
		}
		ours := map[string]bool{"{" + w.ns + "}:shards": true}
		for shard := range 2 {
			for _, key := range keysOf(w.ns, shard) {
				ours[key] = true
			}
		}
		for _, key := range keysWith(t, w.rdb(t), w.ns) {
			if !ours[key] {
				t.Errorf("key %q", key)
			}
		}
	})
}

// keysWith lists the keys of all nodes that contain s.
func keysWith(t *testing.T, rdb redis.UniversalClient, s string) []string {
	t.Helper()
	var keys []string
	scan := func(c *redis.Client) {
		it := c.Scan(bounded(t), 0, "*"+s+"*", 1000).Iterator()
		for it.Next(bounded(t)) {
			keys = append(keys, it.Val())
		}
		wantErr(t, it.Err(), nil)
	}
	switch c := rdb.(type) {
	case *redis.Client:
		scan(c)
	case *redis.ClusterClient:
		for shard := range 2 {
			node, err := c.MasterForKey(bounded(t), keysOf(s, shard)[0])
			wantErr(t, err, nil)
			scan(node)
		}
	}
	return keys
}
