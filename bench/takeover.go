package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// takeovers has a holder die, ten times a round, while another locker waits: its lock runs out, and what is measured is the
// time from then to the other's grant. It is counted from before the lock was taken, so it is a little too long for all.
func takeovers(ctx context.Context, b *bench, id string) error {
	samples := make(map[string][]time.Duration)
	err := b.alternate(ctx, b.among(nameOurs, nameRedislock, nameRedsync, nameRueidislock), func(l library) error {
		dying, err := l.open(place{addr: b.server.addr})
		if err != nil {
			return err
		}
		defer dying.close()
		heir, err := l.open(place{addr: b.server.addr})
		if err != nil {
			return err
		}
		defer heir.close()
		var late []time.Duration
		for i := range pick(b, 11, 3) {
			key := fmt.Sprintf("bench:orphan:%d", i)
			ttl := 300*time.Millisecond + rand.N(200*time.Millisecond) // not in step with the server's timers
			expires := time.Now().Add(ttl)
			if err := dying.abandon(ctx, key, ttl); err != nil {
				return err
			}
			release, err := heir.wait(ctx, key)
			if err != nil {
				return err
			}
			granted := time.Now()
			if err := release(ctx); err != nil {
				return err
			}
			if i > 0 { // the first one connects
				late = append(late, granted.Sub(expires))
			}
		}
		samples[l.name] = append(samples[l.name], late...)
		b.report.add(id, "", "late p50", "ms", l.name, millis(quantile(late, 0.5)))
		b.report.add(id, "", "late max", "ms", l.name, millis(quantile(late, 1)))
		return nil
	})
	if err != nil {
		return err
	}
	b.report.atMost(id, "p50 of all takeovers, ms", 10, orNaN(samples[nameOurs], 0.5))
	b.report.atMost(id, "slowest of all takeovers, ms", 120, orNaN(samples[nameOurs], 1))
	return nil
}
