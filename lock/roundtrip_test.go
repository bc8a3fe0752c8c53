package lock_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// cycle is what a lock goes through; each step is one call for all resources.
func cycle(l *lock.Locker, resources []string) []struct {
	name string
	call func(context.Context) error
} {
	var held lock.Results
	return []struct {
		name string
		call func(context.Context) error
	}{
		{"TryLock", func(ctx context.Context) (err error) {
			held, err = l.TryLock(ctx, lock.Claims("me", resources...)...)
			return err
		}},
		{"Extend", func(ctx context.Context) error {
			_, err := l.Extend(ctx, held.Claims()...)
			return err
		}},
		{"Owners", func(ctx context.Context) error {
			_, err := l.Owners(ctx, resources...)
			return err
		}},
		{"Unlock", func(ctx context.Context) error {
			_, err := l.Unlock(ctx, held.Claims()...)
			return err
		}},
		{"TryLockAll", func(ctx context.Context) (err error) {
			held, err = l.TryLockAll(ctx, lock.Claims("me", resources...)...)
			return err
		}},
		{"ForceLock", func(ctx context.Context) (err error) {
			held, err = l.ForceLock(ctx, lock.Claims("you", resources...)...)
			return err
		}},
		{"ForceUnlock", func(ctx context.Context) error {
			_, err := l.ForceUnlock(ctx, resources...)
			return err
		}},
	}
}

func TestAThousandResourcesAreOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	ctx := bounded(t)
	resources := names("resource-", 1000)
	for round := range 2 { // the first opens connections and loads scripts
		for _, step := range cycle(l, resources) {
			p.ResetCounters()
			if err := step.call(ctx); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if n := p.RoundTrips(); round == 1 && n != 1 {
				t.Errorf("%s of 1,000 resources took %d round trips (%v)", step.name, n, p.Commands())
			}
		}
	}
}

func TestAThousandResourcesAreAtMostOneRoundTripPerNode(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Real)
	proxies := c.Proxies(t)
	o := c.Options()
	o.Dialer = redistest.Dialer(proxies...)
	rdb := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	l := newLockerOn(t, rdb, lock.Config{Namespace: c.Namespace(t)})
	ctx := bounded(t)
	resources := names("resource-", 1000)
	for round := range 2 {
		for _, step := range cycle(l, resources) {
			if step.name == "TryLockAll" { // needs one shard; ForceLock follows, and takes what is free
				continue
			}
			for _, p := range proxies {
				p.ResetCounters()
			}
			if err := step.call(ctx); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if round == 0 {
				continue
			}
			total := 0
			for i, p := range proxies {
				// The client looks at the cluster's slots now and then; that is not part of the call.
				n := p.RoundTrips() - p.Commands()["cluster"]
				total += n
				if n > 1 {
					t.Errorf("%s took %d round trips to node %d (%v)", step.name, n, i, p.Commands())
				}
			}
			if total == 0 || total > 3 {
				t.Errorf("%s took %d round trips with three masters", step.name, total)
			}
		}
	}
}
