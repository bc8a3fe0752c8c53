package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// A library is a contender.
type library struct {
	name   string
	module string // whose version is told; none for this repository's
	used   string // how it is used here, for the page
	open   func(at place) (client, error)
}

// A place says where a client works.
type place struct {
	addr  string
	small bool          // one of very many in this process: few connections, small buffers
	users int           // goroutines that use it at the same time, if they are many
	ttl   time.Duration // lease time of its locks; 0 is defaultTTL
}

func (p place) lease() time.Duration {
	if p.ttl > 0 {
		return p.ttl
	}
	return defaultTTL
}

// defaultTTL is longer than any measurement needs a lock that is not renewed.
const defaultTTL = 30 * time.Second

// A client is what one process has of a library.
type client interface {
	// try locks a key that is free; it does not wait.
	try(ctx context.Context, key string) (release, error)
	// wait locks a key, and waits until it can.
	wait(ctx context.Context, key string) (release, error)
	// collection locks all of the keys, and then unlocks them.
	collection(ctx context.Context, keys []string) error
	// abandon locks a key for so long, and neither keeps nor releases it.
	abandon(ctx context.Context, key string, ttl time.Duration) error
	close()
}

// A release unlocks what was locked.
type release func(context.Context) error

const (
	nameOurs        = "ours"
	nameKept        = "ours, kept"
	nameUnsafe      = "unsafe pipeline"
	nameRedislock   = "redislock"
	nameRedsync     = "redsync"
	nameRueidislock = "rueidislock"
	nameFlushDelay  = "rueidislock, delayed"
)

const (
	moduleGoRedis   = "github.com/redis/go-redis/v9"
	moduleRedislock = "github.com/bsm/redislock"
	moduleRedsync   = "github.com/go-redsync/redsync/v4"
	moduleRueidis   = "github.com/redis/rueidis"
)

// libraries are all contenders, in the order in which they are printed.
var libraries = []library{
	{nameOurs, "", usedOurs, openOurs},
	{nameKept, "", usedKept, openKept},
	{nameUnsafe, moduleGoRedis, usedUnsafe, openUnsafe},
	{nameRedislock, moduleRedislock, usedRedislock, openRedislock},
	{nameRedsync, moduleRedsync, usedRedsync, openRedsync},
	{nameRueidislock, moduleRueidis, usedRueidislock, openRueidislock},
	{nameFlushDelay, moduleRueidis, usedFlushDelay, openFlushDelay},
}

// manyUsers is how many goroutines use one client where there are many.
const manyUsers = 128

// goRedis returns a client as the documentation of go-redis makes it, with a connection for each goroutine where they are
// many; a small one has two connections at most and buffers that a thousand of them have room for. It is the same for all.
func goRedis(at place) *redis.Client {
	o := &redis.Options{
		Addr:                  at.addr,
		ContextTimeoutEnabled: true,     // as README recommends; the same for all
		PoolSize:              at.users, // 0 is the default, ten for each core
	}
	if at.small {
		o.PoolSize, o.ReadBufferSize, o.WriteBufferSize = 2, 4096, 4096
	}
	return redis.NewClient(o)
}

// oneByOne locks and unlocks keys with as many goroutines at a time, for libraries that know no collections.
func oneByOne(ctx context.Context, c client, keys []string, goroutines int) error {
	releases := make([]release, len(keys))
	var g errgroup.Group
	g.SetLimit(goroutines)
	for i, key := range keys {
		g.Go(func() (err error) {
			releases[i], err = c.try(ctx, key)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, r := range releases {
		g.Go(func() error { return r(ctx) })
	}
	return g.Wait()
}
