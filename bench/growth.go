package main

import (
	"context"
	"math"
)

// growth measures collections, hand-offs and leases at half and at double size: the cost of each should stay what it is.
func growth(ctx context.Context, b *bench, id string) error {
	libs := b.among(nameOurs)
	if len(libs) == 0 {
		return nil
	}
	r := b.report
	sizes := []int{500, 1000, 2000}
	for _, n := range sizes {
		if err := collectionsOf(ctx, b, id, n, libs); err != nil {
			return err
		}
	}
	r.atMost(id, "a resource's time in a collection, largest by smallest", 1.3, r.spread(id, sizes, "resources"))

	sizes = pick(b, []int{500, 1000, 2000}, []int{50, 100, 200})
	for _, n := range sizes {
		if err := handOffsOf(ctx, b, id, n, libs); err != nil {
			return err
		}
	}
	r.atMost(id, "commands per grant, largest by smallest", 1.3, r.spread(id, sizes, commandsEach))
	r.atMost(id, "gap p50, largest by smallest", 1.3, r.spread(id, sizes, gapP50))

	sizes = pick(b, []int{50_000, 100_000, 200_000}, []int{5000, 10_000})
	if !b.quick { // rueidislock beside ours, at the size that it has in scenario 7 and at the double one
		for _, n := range []int{20_000, 40_000} {
			both := b.among(nameOurs, nameRueidislock)
			if err := b.alternate(ctx, both, func(l library) error { return leasesOf(ctx, b, id, n, b.shortSpan(), l) }); err != nil {
				return err
			}
		}
	}
	for _, n := range sizes {
		if err := b.alternate(ctx, libs, func(l library) error { return leasesOf(ctx, b, id, n, b.shortSpan(), l) }); err != nil {
			return err
		}
	}
	r.atMost(id, "bytes a lease, largest by smallest", 1.3, r.spread(id, sizes, bytesEach))
	r.atMost(id, "goroutines, largest by smallest", 1.3, r.spread(id, sizes, goroutinesMost))
	r.atMost(id, "client time a lease, largest by smallest", 1.3, r.spreadEach(id, sizes, clientShare))
	return nil
}

// spread returns the largest median of ours by the smallest.
func (r *report) spread(scenario string, sizes []int, metric string) float64 {
	return r.spreadBy(scenario, sizes, metric, func(int) float64 { return 1 })
}

// spreadEach does so for what grows with the size.
func (r *report) spreadEach(scenario string, sizes []int, metric string) float64 {
	return r.spreadBy(scenario, sizes, metric, func(n int) float64 { return float64(n) })
}

func (r *report) spreadBy(scenario string, sizes []int, metric string, unit func(int) float64) float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, n := range sizes {
		v := r.median(scenario, size(n), metric, nameOurs) / unit(n)
		low, high = min(low, v), max(high, v)
	}
	return high / low
}
