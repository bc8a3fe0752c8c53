package main

import (
	"context"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

const usedRedislock = "`Obtain` and `Release`; who waits has the strategy `LinearBackoff` with 10 ms, a tenth of its example's: " +
	"ten times the calls, a tenth of the delay. Never renewed. Collections: 128 goroutines"

// redisLock is github.com/bsm/redislock. Who waits polls every 10 ms.
type redisLock struct {
	rdb    *redis.Client
	client *redislock.Client
	at     place
}

const redislockPoll = 10 * time.Millisecond

func openRedislock(at place) (client, error) {
	rdb := goRedis(at)
	return redisLock{rdb, redislock.New(rdb), at}, nil
}

func (r redisLock) close() { _ = r.rdb.Close() }

func (r redisLock) try(ctx context.Context, key string) (release, error) {
	return r.obtain(ctx, key, nil)
}

func (r redisLock) wait(ctx context.Context, key string) (release, error) {
	return r.obtain(ctx, key, &redislock.Options{RetryStrategy: redislock.LinearBackoff(redislockPoll)})
}

func (r redisLock) obtain(ctx context.Context, key string, o *redislock.Options) (release, error) {
	l, err := r.client.Obtain(ctx, key, r.at.lease(), o)
	if err != nil {
		return nil, err
	}
	return l.Release, nil
}

func (r redisLock) collection(ctx context.Context, keys []string) error {
	return oneByOne(ctx, r, keys, manyUsers)
}

func (r redisLock) abandon(ctx context.Context, key string, ttl time.Duration) error {
	return plain{r.rdb, r.at}.abandon(ctx, key, ttl)
}
