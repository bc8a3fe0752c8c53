// Package comingfrom is the code of docs/coming-from: what one had, and what one writes now. It promises nothing but that both
// run.
package comingfrom

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

func newLocker(t *testing.T, server *redistest.Server, namespace string) *lock.Locker {
	t.Helper()
	l, err := lock.New(server.Client(t), lock.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// inTurn checks that of the ways to work, which are used at the same time, only one works at a time, and each returns what its
// work does.
func inTurn(t *testing.T, ways map[string]func(work func(context.Context) error) error) {
	t.Helper()
	var working, worked atomic.Int64
	var all sync.WaitGroup
	for name, way := range ways {
		for range 5 {
			all.Go(func() {
				err := way(func(ctx context.Context) error {
					if working.Add(1) > 1 {
						t.Errorf("%s: two work", name)
					}
					defer working.Add(-1)
					worked.Add(1)
					return ctx.Err()
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	all.Wait()
	if n := worked.Load(); n != int64(5*len(ways)) {
		t.Errorf("worked %d times", n)
	}
}

// tries checks a way to lock without waiting.
func tries(t *testing.T, try func() (lease *lock.Lease, free bool, err error)) {
	t.Helper()
	for range 2 {
		lease, free, err := try()
		if !free || err != nil {
			t.Fatalf("free: %v", err)
		}
		if _, free, err := try(); free || err != nil {
			t.Errorf("held: %v, %v", free, err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
