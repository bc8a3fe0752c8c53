package comingfrom

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func redsyncBefore(ctx context.Context, client *redis.Client, name string, work func(context.Context) error) error {
	rs := redsync.New(goredis.NewPool(client))
	mutex := rs.NewMutex(name, redsync.WithExpiry(30*time.Second))
	if err := mutex.LockContext(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // or work may take no longer than the expiry
		for tick := time.NewTicker(10 * time.Second); ; {
			select {
			case <-tick.C:
				if ok, err := mutex.ExtendContext(ctx); !ok {
					cancel(err)
				}
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	err := work(ctx)
	if ok, unlocked := mutex.UnlockContext(context.WithoutCancel(ctx)); !ok {
		err = errors.Join(err, unlocked)
	}
	return err
}

func redsyncAfter(ctx context.Context, locker *lock.Locker, name string, work func(context.Context) error) error {
	return locker.Do(ctx, lock.Claim{Resource: name}, func(ctx context.Context, lease *lock.Lease) error {
		return work(ctx) // lease.Fence() is for what it writes to
	})
}

// redsyncBoth is for the one release that runs beside the old one.
func redsyncBoth(ctx context.Context, client *redis.Client, locker *lock.Locker, name string, work func(context.Context) error) error {
	return redsyncAfter(ctx, locker, name, func(ctx context.Context) error {
		return redsyncBefore(ctx, client, name, work)
	})
}

func redsyncTry(ctx context.Context, locker *lock.Locker, name string) (lease *lock.Lease, free bool, err error) {
	lease, err = locker.TryHold(ctx, lock.Claim{Resource: name})
	if errors.Is(err, lock.ErrHeld) { // redsync.ErrTaken
		return nil, false, nil
	}
	return lease, err == nil, err // lease.Context() ends when it is lost, lease.Release(ctx) unlocks
}

func TestRedsync(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	client, name := server.Client(t), server.Namespace(t)
	locker := newLocker(t, server, name)
	inTurn(t, map[string]func(work func(context.Context) error) error{
		"before": func(work func(context.Context) error) error { return redsyncBefore(t.Context(), client, name, work) },
		"both": func(work func(context.Context) error) error {
			return redsyncBoth(t.Context(), client, locker, name, work)
		},
	})
	inTurn(t, map[string]func(work func(context.Context) error) error{
		"after": func(work func(context.Context) error) error { return redsyncAfter(t.Context(), locker, name, work) },
		"both": func(work func(context.Context) error) error {
			return redsyncBoth(t.Context(), client, locker, name, work)
		},
	})
	tries(t, func() (*lock.Lease, bool, error) { return redsyncTry(t.Context(), locker, name) })
}
