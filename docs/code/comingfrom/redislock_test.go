package comingfrom

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func redislockBefore(ctx context.Context, client *redis.Client, name string, work func(context.Context) error) error {
	held, err := redislock.New(client).Obtain(ctx, name, 30*time.Second, &redislock.Options{
		RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // or work may take no longer than the time to live
		for tick := time.NewTicker(10 * time.Second); ; {
			select {
			case <-tick.C:
				if err := held.Refresh(ctx, 30*time.Second, nil); err != nil {
					cancel(err)
				}
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	err = work(ctx)
	return errors.Join(err, held.Release(context.WithoutCancel(ctx)))
}

func redislockAfter(ctx context.Context, locker *lock.Locker, name string, work func(context.Context) error) error {
	return locker.Do(ctx, lock.Claim{Resource: name}, func(ctx context.Context, lease *lock.Lease) error {
		return work(ctx) // lease.Fence() is for what it writes to
	})
}

// redislockBoth is for the one release that runs beside the old one.
func redislockBoth(ctx context.Context, client *redis.Client, locker *lock.Locker, name string, work func(context.Context) error) error {
	return redislockAfter(ctx, locker, name, func(ctx context.Context) error {
		return redislockBefore(ctx, client, name, work)
	})
}

func redislockTry(ctx context.Context, locker *lock.Locker, name string) (lease *lock.Lease, free bool, err error) {
	lease, err = locker.TryHold(ctx, lock.Claim{Resource: name})
	if errors.Is(err, lock.ErrHeld) { // redislock.ErrNotObtained
		return nil, false, nil
	}
	return lease, err == nil, err // lease.Context() ends when it is lost, lease.Release(ctx) unlocks
}

// redislockMany is what a loop over Obtain was: each by itself, all in one round trip. Locker.Keep would renew what is granted.
func redislockMany(ctx context.Context, locker *lock.Locker, owner string, pages []string, edit func(lock.Result) error) error {
	granted, err := locker.TryLock(ctx, lock.Claims(owner, pages...)...)
	if err != nil && len(granted.OK()) == 0 {
		return err
	}
	for _, page := range granted.OK() {
		err = errors.Join(err, edit(page))
	}
	_, unlocked := locker.Unlock(context.WithoutCancel(ctx), granted.Claims()...)
	return errors.Join(err, unlocked)
}

func TestRedislock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	client, name := server.Client(t), server.Namespace(t)
	locker := newLocker(t, server, name)
	inTurn(t, map[string]func(work func(context.Context) error) error{
		"before": func(work func(context.Context) error) error { return redislockBefore(t.Context(), client, name, work) },
		"both": func(work func(context.Context) error) error {
			return redislockBoth(t.Context(), client, locker, name, work)
		},
	})
	inTurn(t, map[string]func(work func(context.Context) error) error{
		"after": func(work func(context.Context) error) error { return redislockAfter(t.Context(), locker, name, work) },
		"both": func(work func(context.Context) error) error {
			return redislockBoth(t.Context(), client, locker, name, work)
		},
	})
	tries(t, func() (*lock.Lease, bool, error) { return redislockTry(t.Context(), locker, name) })

	if _, err := locker.TryLock(t.Context(), lock.Claim{Resource: "page 2", Owner: "bob"}); err != nil {
		t.Fatal(err)
	}
	var edited []string
	err := redislockMany(t.Context(), locker, "alice", []string{"page 1", "page 2", "page 3"}, func(page lock.Result) error {
		edited = append(edited, page.Resource)
		return nil
	})
	if fmt.Sprint(edited) != "[page 1 page 3]" || !errors.Is(err, lock.ErrHeld) {
		t.Errorf("edited %v: %v", edited, err)
	}
	if held, err := locker.Owners(t.Context(), "page 1", "page 2"); err != nil || held[0].Owner != "" || held[1].Owner != "bob" {
		t.Errorf("afterwards %+v, %v", held, err)
	}
}
