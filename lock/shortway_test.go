package lock_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// varying is what is different each time: times, fences, nonces, waiters.
var varying = regexp.MustCompile(`[\w-]{11,}`)

// shardText is what stands in a shard, but for what is different each time.
func shardText(t *testing.T, rdb redis.UniversalClient, namespace string) string {
	t.Helper()
	ctx := bounded(t)
	var lines []string
	for _, key := range keysOf(namespace, 0) {
		var values []string
		switch kind := must[string](t)(rdb.Type(ctx, key).Result()); kind {
		case "hash":
			for field, value := range must[map[string]string](t)(rdb.HGetAll(ctx, key).Result()) {
				if field != "event" { // only those who publish all events count them here
					values = append(values, field+" = "+value)
				}
			}
		case "zset":
			for _, z := range must[[]redis.Z](t)(rdb.ZRangeWithScores(ctx, key, 0, -1).Result()) {
				values = append(values, fmt.Sprintf("%s at %016.0f", z.Member, z.Score))
			}
		}
		slices.Sort(values)
		lines = append(lines, strings.TrimPrefix(key, "{"+namespace)+"\n\t"+strings.Join(values, "\n\t"))
	}
	return varying.ReplaceAllStringFunc(strings.Join(lines, "\n"), func(s string) string { return fmt.Sprintf("(%d)", len(s)) })
}

// TestShortWaysWriteWhatTheLongOneWrites: the scripts have short ways for what is
// frequent, which a Locker with Publish never takes.
func TestShortWaysWriteWhatTheLongOneWrites(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	claim := lock.Claim{Resource: "<r>", Owner: "<me>", TTL: time.Minute}
	job := lock.JobClaim{ID: lock.JobID{Key: "<r>", Run: "<run>"}, Owner: "<me>", TTL: time.Minute, MaxAttempts: 3, Retention: time.Hour}
	steps := func(publish bool) []string {
		cfg := lock.Config{Namespace: s.Namespace(t), Publish: publish}
		holder, waiter := newLocker(t, s, cfg), newLocker(t, s, cfg)
		rdb, ctx := s.Client(t), bounded(t)
		var found []string
		look := func() { found = append(found, shardText(t, rdb, cfg.Namespace)) }
		must[*lock.Lease](t)(holder.Hold(ctx, lock.Claim{Resource: "<other>", Owner: "<me>", TTL: time.Minute}))
		look()
		for range 2 {
			le := must[*lock.Lease](t)(holder.Hold(ctx, claim))
			look()
			granted := make(chan *lock.Lease)
			go func() {
				le, err := waiter.Hold(ctx, claim)
				if err != nil {
					t.Errorf("the waiter: %v", err)
				}
				granted <- le
			}()
			awaitQueue(t, rdb, cfg.Namespace, 1)
			look()
			wantErr(t, le.Release(ctx), nil)
			next := receive(t, "grant", granted)
			look()
			wantErr(t, next.Release(ctx), nil)
			look()
		}
		for _, end := range []lock.End{lock.Returned, lock.Done} {
			attempt, _, err := holder.Jobs().Await(ctx, job)
			wantErr(t, err, nil)
			look()
			wantErr(t, attempt.Settle(ctx, lock.Settlement{End: end}), nil)
			look()
		}
		return found
	}
	short, full := steps(false), steps(true)
	for i := range full {
		if short[i] != full[i] {
			t.Fatalf("after step %d the short way left\n%s\nand the long one\n%s", i, short[i], full[i])
		}
	}
}

// TestAClaimsShortWayIsNotForThese: what claim.lua must leave to its long way.
func TestAClaimsShortWayIsNotForThese(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a lock that ends too late", "an offer that ends too late", "an offer for another place"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns, rdb, ctx := s.Namespace(t), s.Client(t), bounded(t)
			holder, l := newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns})
			locks := keysOf(ns, 0)[locksAt]
			must[lock.Results](t)(holder.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: 20 * time.Second}))
			held := make(chan int64, 1)
			hold := func() {
				if le, err := l.Hold(ctx, lock.Claim{Resource: "r", TTL: time.Second}); err == nil {
					held <- le.Fence()
					_ = le.Release(ctx)
				}
			}
			at := func(d time.Duration) string {
				return fmt.Sprintf("%014d", must[int64](t)(redisMicros(ctx, rdb))/1000+d.Milliseconds())
			}
			member := "f0001rp00000000000000000001AAAAAAAAAAA"
			switch name {
			case "a lock that ends too late": // the clock was set back by an hour
				v := rdb.HGet(ctx, locks, "r").Val()
				wantErr(t, rdb.HSet(ctx, locks, "r", "L"+at(time.Hour)+v[15:45]+"00000000001000"+v[59:]).Err(), nil)
				go hold()
			case "an offer that ends too late":
				wantErr(t, rdb.HSet(ctx, locks, "r", "O"+at(time.Hour)+member).Err(), nil)
				go hold()
			case "an offer for another place": // of the same Locker
				go hold()
				awaitQueue(t, rdb, ns, 1)
				member = must[[]string](t)(rdb.ZRange(ctx, keysOf(ns, 0)[queueAt], 0, 0).Result())[0]
				wantErr(t, rdb.HSet(ctx, locks, "r", "O"+at(900*time.Millisecond)+member).Err(), nil)
				_, r, err := attempt(ctx, l, lock.JobID{Key: "r"}, time.Minute, 1)
				wantErr(t, err, nil)
				if first := receive(t, "the grant of who it was offered to", held); first > r.Grant.Fence {
					t.Errorf("the offer to %q was taken by an attempt at a job", member)
				}
				return
			}
			receive(t, "a grant, a lease after the clock was set back", held)
		})
	}
}
