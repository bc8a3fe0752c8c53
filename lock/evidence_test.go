package lock_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// through makes a client that goes through a proxy, closed with the test.
func through(t testing.TB, s *redistest.Server, p *redistest.Proxy) *redis.Client {
	t.Helper()
	o := s.Options()
	o.Addr = p.Addr()
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// within is a context that ends so much later.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// redisMicros reads the server's clock, in µs.
func redisMicros(ctx context.Context, rdb redis.UniversalClient) (int64, error) {
	now, err := rdb.Time(ctx).Result()
	return now.UnixMicro(), err
}

// snapshot is all that stands in the six keys of a namespace's only shard.
func snapshot(t testing.TB, rdb redis.UniversalClient, namespace string) string {
	t.Helper()
	ctx := bounded(t)
	text := ""
	for _, key := range keysOf(namespace, 0) {
		switch kind := rdb.Type(ctx, key).Val(); kind {
		case "hash":
			text += fmt.Sprintf("%s %q\n", key, rdb.HGetAll(ctx, key).Val())
		case "zset":
			text += fmt.Sprintf("%s %v\n", key, rdb.ZRangeWithScores(ctx, key, 0, -1).Val())
		case "none":
		default:
			t.Fatalf("%s is a %s", key, kind)
		}
	}
	return text
}

// awaitQueue polls until so many waiters stand in the queue of the only shard.
func awaitQueue(t testing.TB, rdb redis.UniversalClient, namespace string, n int64) {
	t.Helper()
	ctx := bounded(t)
	eventually(t, fmt.Sprintf("%d waiters in the queue", n), func() bool {
		return rdb.ZCard(ctx, keysOf(namespace, 0)[queueAt]).Val() == 2*n // each stands in it twice
	})
}

// Positions in keysOf.
const (
	locksAt = 1
	queueAt = 3
	jobsAt  = 4
)

// A tenure is a grant, from Redis's time of it to one at which it was valid for sure.
type tenure struct {
	Fence    int64
	From, To int64 // µs
}

// grantedAt is Redis's time of a grant in µs: a fence ends with three digits
// for the position in its call.
func grantedAt(fence int64) int64 { return fence / 1000 }

// A ledger collects the tenures of one resource.
type ledger struct {
	mu      sync.Mutex
	tenures []tenure
}

func (l *ledger) add(t tenure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tenures = append(l.tenures, t)
}

// check wants at least so many tenures, one after another.
func (l *ledger) check(t testing.TB, least int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.tenures, func(a, b tenure) int { return cmp.Compare(a.Fence, b.Fence) })
	for i := 1; i < len(l.tenures); i++ {
		a, b := l.tenures[i-1], l.tenures[i]
		if a.Fence == b.Fence {
			t.Fatalf("fence %d was granted twice", a.Fence)
		}
		if b.From < a.To {
			t.Fatalf("grant %d was valid at %d, but the next one began at %d, %d µs earlier", a.Fence, a.To, b.From, a.To-b.From)
		}
	}
	if len(l.tenures) < least {
		t.Fatalf("only %d grants: this shows nothing", len(l.tenures))
	}
	t.Logf("%d grants", len(l.tenures))
}

// held makes the tenure of a kept lease that is alive: its context is looked at
// after Redis's clock.
func held(ctx context.Context, rdb redis.UniversalClient, lease context.Context, fence int64) tenure {
	te := tenure{Fence: fence, From: grantedAt(fence), To: grantedAt(fence)}
	if now, err := redisMicros(ctx, rdb); err == nil && lease.Err() == nil {
		te.To = max(te.To, now)
	}
	return te
}

// attempt claims a job's run and waits; its error is for the test to judge.
func attempt(ctx context.Context, l *lock.Locker, id lock.JobID, ttl time.Duration, most int) (*lock.JobLease, lock.JobResult, error) {
	return l.Jobs().Await(ctx, lock.JobClaim{ID: id, TTL: ttl, MaxAttempts: most})
}
