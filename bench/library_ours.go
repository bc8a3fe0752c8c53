package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

const (
	usedOurs = "`TryLock` and `Unlock`, of one resource or of all at once, not renewed; where it waits, `Hold` and `Release`, " +
		"which is renewed. Stores and checks all that [the design](design.md) promises: owner, fence, nonce, lease, queue"
	usedKept = "the same with `TryHold` and `Release`: each lock is renewed by the keeper from the moment it is granted"
)

// ours is package lock. try and collection lock without keeping, as redislock and redsync do; wait keeps.
type ours struct {
	rdb    *redis.Client
	locker *lock.Locker
}

// owner is as long as the one that package lock makes up.
const owner = "machine-12345-ABCDEFGH"

func openOurs(at place) (client, error) { return newOurs(at) }

func newOurs(at place) (*ours, error) {
	rdb := goRedis(at)
	l, err := lock.New(rdb, lock.Config{Namespace: "bench", Owner: owner, TTL: at.lease()})
	if err != nil {
		return nil, err
	}
	return &ours{rdb: rdb, locker: l}, nil
}

func (o *ours) close() {
	_ = o.locker.Close()
	_ = o.rdb.Close()
}

func (o *ours) try(ctx context.Context, key string) (release, error) {
	rs, err := o.locker.TryLock(ctx, lock.Claim{Resource: key, Owner: owner})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := o.locker.Unlock(ctx, rs.Claims()...)
		return err
	}, nil
}

func (o *ours) wait(ctx context.Context, key string) (release, error) {
	lease, err := o.locker.Hold(ctx, lock.Claim{Resource: key})
	if err != nil {
		return nil, err
	}
	return lease.Release, nil
}

func (o *ours) collection(ctx context.Context, keys []string) error {
	rs, err := o.locker.TryLock(ctx, lock.Claims(owner, keys...)...)
	if err != nil {
		return err
	}
	_, err = o.locker.Unlock(ctx, rs.Claims()...)
	return err
}

func (o *ours) abandon(ctx context.Context, key string, ttl time.Duration) error {
	_, err := o.locker.TryLock(ctx, lock.Claim{Resource: key, Owner: owner, TTL: ttl})
	return err
}

// kept is package lock, with leases that are renewed until they are released, as those of rueidislock are.
type kept struct{ *ours }

func openKept(at place) (client, error) {
	o, err := newOurs(at)
	return kept{o}, err
}

func (k kept) try(ctx context.Context, key string) (release, error) {
	lease, err := k.locker.TryHold(ctx, lock.Claim{Resource: key})
	if err != nil {
		return nil, err
	}
	return lease.Release, nil
}
