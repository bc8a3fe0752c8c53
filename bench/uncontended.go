package main

import (
	"context"
	"time"
)

// uncontended locks and unlocks one key, again and again, from one goroutine.
func uncontended(ctx context.Context, b *bench, id string) error {
	err := b.alternate(ctx, b.among(nameOurs, nameKept, nameUnsafe, nameRedislock, nameRedsync, nameRueidislock), func(l library) error {
		c, err := l.open(place{addr: b.server.addr})
		if err != nil {
			return err
		}
		defer c.close()
		var samples []time.Duration
		cycle := func() error {
			began := time.Now()
			release, err := c.try(ctx, "bench:one")
			if err != nil {
				return err
			}
			if err := release(ctx); err != nil {
				return err
			}
			samples = append(samples, time.Since(began))
			return nil
		}
		if _, _, err := repeat(ctx, b.span()/4, cycle); err != nil {
			return err
		}
		samples = samples[:0]
		if _, _, err := repeat(ctx, b.span(), cycle); err != nil {
			return err
		}
		b.report.add(id, "", "lock + unlock p50", "µs", l.name, micros(quantile(samples, 0.5)))
		b.report.add(id, "", "lock + unlock p99", "µs", l.name, micros(quantile(samples, 0.99)))
		return nil
	})
	if err != nil {
		return err
	}
	b.report.atMost(id, "lock + unlock p50, as a multiple of redislock's", 1.1,
		b.report.ratio(id, "", "lock + unlock p50", nameRedislock))
	return nil
}
