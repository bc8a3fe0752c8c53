package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const usedUnsafe = "`SET NX PX` and `DEL` of go-redis, a collection as one `Pipeline`. No owner is checked, there is no fence and " +
	"nobody can wait: not a lock to use, but the least that one on this client can cost"

// plain is SET NX PX and DEL, and nothing of what makes a lock safe: no check of who releases, no fence, nobody waits. It
// is the least that a lock on this client can cost.
type plain struct {
	rdb redis.UniversalClient
	at  place
}

func openUnsafe(at place) (client, error) { return plain{goRedis(at), at}, nil }

func (p plain) close() { _ = p.rdb.Close() }

var errTaken = errors.New("taken")

func (p plain) try(ctx context.Context, key string) (release, error) {
	ok, err := p.rdb.SetNX(ctx, key, owner, p.at.lease()).Result()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errTaken
	}
	return func(ctx context.Context) error { return p.rdb.Del(ctx, key).Err() }, nil
}

func (p plain) wait(context.Context, string) (release, error) {
	return nil, errors.New("nobody waits here")
}

func (p plain) collection(ctx context.Context, keys []string) error {
	pipe := p.rdb.Pipeline()
	set := make([]*redis.BoolCmd, len(keys))
	for i, key := range keys {
		set[i] = pipe.SetNX(ctx, key, owner, p.at.lease())
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		if !set[i].Val() {
			return errTaken
		}
		pipe.Del(ctx, key)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (p plain) abandon(ctx context.Context, key string, ttl time.Duration) error {
	return p.rdb.Set(ctx, key, owner, ttl).Err()
}
