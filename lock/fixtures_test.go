package lock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// Promised by design.md: P and the step of a rank.
const (
	probe = time.Second
	rank  = 100 * time.Millisecond
)

// newLocker makes a Locker on a client of its own, closed with the test. Without
// cfg.Namespace it is alone in a namespace of the test's.
func newLocker(t testing.TB, s *redistest.Server, cfg lock.Config) *lock.Locker {
	t.Helper()
	if cfg.Namespace == "" {
		cfg.Namespace = s.Namespace(t)
	}
	return newLockerOn(t, s.Client(t), cfg)
}

// newLockerOn makes a Locker on a client, or on one with the least rights
// (REDISTEST_ACL=1), closed with the test.
func newLockerOn(t testing.TB, rdb redis.UniversalClient, cfg lock.Config) *lock.Locker {
	t.Helper()
	l, err := lock.New(redistest.LeastPrivileged(t, rdb), cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// newProxied makes a Locker whose client goes through a proxy in front of s.
func newProxied(t testing.TB, s *redistest.Server, cfg lock.Config) (*lock.Locker, *redistest.Proxy) {
	t.Helper()
	if cfg.Namespace == "" {
		cfg.Namespace = s.Namespace(t)
	}
	p := redistest.NewProxy(t, s.Addr())
	o := s.Options()
	o.Addr = p.Addr()
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return newLockerOn(t, rdb, cfg), p
}

// bounded is the context of a test's calls: long enough for a busy machine.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// must ends the test if a call failed that should not.
func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return v
	}
}

// wantErr ends the test unless err is want; nil wants none.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// eventually polls until ok, for what gives no signal.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Millisecond),
		backoff.WithMaxInterval(50*time.Millisecond),
		backoff.WithMaxElapsedTime(30*time.Second))
	if err := backoff.Retry(func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	}, policy); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// receive takes a value that must come.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// pass lets time pass: what a holder does.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// names makes n different names.
func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}

// keysOf are the six keys of a shard, in the order of design.md: meta, locks,
// expiry, queue, jobs, retention.
func keysOf(namespace string, shard int) (keys [6]string) {
	for i, name := range [...]string{"meta", "locks", "expiry", "queue", "jobs", "retention"} {
		keys[i] = fmt.Sprintf("{%s:%d}:%s", namespace, shard, name)
	}
	return keys
}

// A world is a Redis that a test runs on, in a namespace of the test's.
type world struct {
	ns  string
	rdb func(testing.TB) redis.UniversalClient // a new client, closed with the test
}

// locker makes a Locker with a client of its own in the test's namespace.
func (w world) locker(t testing.TB, cfg lock.Config) *lock.Locker {
	t.Helper()
	if cfg.Namespace == "" {
		cfg.Namespace = w.ns
	}
	return newLockerOn(t, w.rdb(t), cfg)
}

// everywhere runs a test on one server and on Redis Cluster.
func everywhere(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, redistest.Any)
		test(t, world{s.Namespace(t), func(t testing.TB) redis.UniversalClient { return s.Client(t) }})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, redistest.Real)
		test(t, world{c.Namespace(t), func(t testing.TB) redis.UniversalClient { return c.Client(t) }})
	})
}

// queued is how many members the queues of a namespace have, on up to 64 shards.
func queued(t testing.TB, rdb redis.UniversalClient, namespace string) int64 {
	t.Helper()
	var n int64
	for shard := range 64 {
		n += must[int64](t)(rdb.ZCard(bounded(t), keysOf(namespace, shard)[3]).Result())
	}
	return n
}
