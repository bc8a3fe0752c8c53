package main

import (
	"context"
	"math"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

const usedRedsync = "one `goredis.NewPool`, `NewMutex` with `WithExpiry`, `TryLockContext` or `LockContext`, `UnlockContext`; who waits " +
	"has its default delay of 50 to 250 ms and tries on (`WithTries`) instead of giving up after 32. Never renewed. Collections: 128 goroutines"

// redSync is github.com/go-redsync/redsync on one server. Who waits polls after 50 to 250 ms, its default, for as long as
// its context lasts instead of 32 times.
type redSync struct {
	rdb  *redis.Client
	sync *redsync.Redsync
	at   place
}

func openRedsync(at place) (client, error) {
	rdb := goRedis(at)
	return redSync{rdb, redsync.New(goredis.NewPool(rdb)), at}, nil
}

func (r redSync) close() { _ = r.rdb.Close() }

func (r redSync) mutex(key string) *redsync.Mutex {
	return r.sync.NewMutex(key, redsync.WithExpiry(r.at.lease()), redsync.WithTries(math.MaxInt))
}

func (r redSync) try(ctx context.Context, key string) (release, error) {
	m := r.mutex(key)
	return unlock(m), m.TryLockContext(ctx)
}

func (r redSync) wait(ctx context.Context, key string) (release, error) {
	m := r.mutex(key)
	return unlock(m), m.LockContext(ctx)
}

func unlock(m *redsync.Mutex) release {
	return func(ctx context.Context) error {
		_, err := m.UnlockContext(ctx)
		return err
	}
}

func (r redSync) collection(ctx context.Context, keys []string) error {
	return oneByOne(ctx, r, keys, manyUsers)
}

func (r redSync) abandon(ctx context.Context, key string, ttl time.Duration) error {
	return plain{r.rdb, r.at}.abandon(ctx, key, ttl)
}
