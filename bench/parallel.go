package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// parallel locks and unlocks one key at a time, from 128 goroutines of one client, each with a key of its own.
func parallel(ctx context.Context, b *bench, id string) error {
	err := b.alternate(ctx, b.among(nameOurs, nameKept, nameUnsafe, nameRedislock, nameRedsync, nameRueidislock, nameFlushDelay), func(l library) error {
		c, err := l.open(place{addr: b.server.addr, users: manyUsers})
		if err != nil {
			return err
		}
		defer c.close()
		storm := func(span time.Duration) (float64, error) {
			var cycles atomic.Int64
			g, ctx := errgroup.WithContext(ctx)
			began := time.Now()
			for i := range manyUsers {
				key := fmt.Sprintf("bench:own:%03d", i)
				g.Go(func() error {
					n, _, err := repeat(ctx, span, func() error {
						release, err := c.try(ctx, key)
						if err != nil {
							return err
						}
						return release(ctx)
					})
					cycles.Add(int64(n))
					return err
				})
			}
			err := g.Wait()
			return float64(cycles.Load()) / time.Since(began).Seconds(), err
		}
		if _, err := storm(b.span() / 4); err != nil {
			return err
		}
		rate, err := storm(b.span())
		if err != nil {
			return err
		}
		b.report.add(id, size(manyUsers), "lock + unlock", "1/s", l.name, rate)
		return nil
	})
	if err != nil {
		return err
	}
	b.report.atLeast(id, "lock + unlock a second, as a multiple of rueidislock's", 2.5,
		b.report.ratio(id, size(manyUsers), "lock + unlock", nameRueidislock))
	return nil
}
