package main

import (
	"context"
	"strconv"
)

// collections locks and unlocks collections of 1,000 resources, one after another. Libraries without collections do it with
// 128 goroutines, rueidislock with 1,000.
func collections(ctx context.Context, b *bench, id string) error {
	libs := b.among(nameOurs, nameUnsafe, nameRedislock, nameRedsync, nameRueidislock, nameFlushDelay)
	if err := collectionsOf(ctx, b, id, 1000, libs); err != nil {
		return err
	}
	b.report.atLeast(id, "resources a second, as a multiple of the unsafe pipeline's", 0.7,
		b.report.ratio(id, size(1000), "resources", nameUnsafe))
	return nil
}

func size(n int) string { return strconv.Itoa(n) }

func collectionsOf(ctx context.Context, b *bench, id string, n int, libs []library) error {
	keys := resources(n)
	return b.alternate(ctx, libs, func(l library) error {
		c, err := l.open(place{addr: b.server.addr, users: manyUsers})
		if err != nil {
			return err
		}
		defer c.close()
		cycle := func() error { return c.collection(ctx, keys) }
		if _, _, err := repeat(ctx, b.span()/4, cycle); err != nil {
			return err
		}
		times, took, err := repeat(ctx, b.span(), cycle)
		if err != nil {
			return err
		}
		b.report.add(id, size(n), "resources", "1/s", l.name, float64(times*n)/took.Seconds())
		return nil
	})
}
