package main

import (
	"context"
	"fmt"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// expiries has locks run out, 1,000 a second, while 100,000 others stay, and measures how late a watcher is told. Beside it
// the same with 1,000 others: the server's work should not differ.
func expiries(ctx context.Context, b *bench, id string) error {
	held := pick(b, []int{1000, 100_000}, []int{1000, 10_000})
	for range b.rounds {
		for _, n := range held {
			if len(b.among(nameOurs)) == 0 {
				return nil
			}
			if err := b.server.empty(ctx); err != nil {
				return err
			}
			if err := expiriesOf(ctx, b, id, n); err != nil {
				return err
			}
		}
	}
	few, many := size(held[0]), size(held[1])
	b.report.atMost(id, "expire event p99, ms", 250, b.report.median(id, many, "expire event p99", nameOurs))
	b.report.atMost(id, "server time with many held, as a multiple of that with few", 1.3,
		b.report.median(id, many, serverShare, nameOurs)/b.report.median(id, few, serverShare, nameOurs))
	return nil
}

func expiriesOf(ctx context.Context, b *bench, id string, held int) error {
	const (
		batch = 10
		every = 10 * time.Millisecond // a batch: 1,000 a second
		ahead = 3 * time.Second       // for locking them all
	)
	o, err := newOurs(place{addr: b.server.addr, ttl: time.Hour})
	if err != nil {
		return err
	}
	defer o.close()
	for names := resources(held); len(names) > 0; {
		part := names[:min(5000, len(names))]
		names = names[len(part):]
		if _, err := o.locker.TryLock(ctx, lock.Claims(owner, part...)...); err != nil {
			return err
		}
	}
	watching, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	events, err := o.locker.Watch(watching, lock.EventExpire)
	if err != nil {
		return err
	}

	batches := pick(b, 600, 200)
	expires := make(map[string]time.Time, batches*batch)
	began := time.Now()
	for i := 0; i < batches; {
		var claims []lock.Claim
		for ; i < batches && len(claims) < 100*batch; i++ {
			at := began.Add(ahead + time.Duration(i)*every)
			for j := range batch {
				name := fmt.Sprintf("bench:passing:%d:%d", i, j)
				expires[name] = at
				claims = append(claims, lock.Claim{Resource: name, Owner: owner, TTL: time.Until(at).Round(time.Millisecond)})
			}
		}
		if _, err := o.locker.TryLock(ctx, claims...); err != nil {
			return err
		}
	}
	if took := time.Since(began); took > ahead {
		return fmt.Errorf("locking took %v: too slow for this scenario", took)
	}

	served, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	idle := time.Now()
	lags := make([]time.Duration, 0, len(expires))
	for e := range events {
		now := time.Now()
		switch at, known := expires[e.Resource]; {
		case e.Kind == lock.EventMissed:
			b.report.breaksf(id, "events were missed")
		case known:
			lags = append(lags, now.Sub(at))
		}
		if len(lags) == len(expires) {
			break
		}
	}
	after, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	took := time.Since(idle)
	if len(lags) < len(expires) {
		b.report.breaksf(id, "%d of %d expiries were not told", len(expires)-len(lags), len(expires))
	}
	r := b.report
	r.add(id, size(held), "expire event p50", "ms", nameOurs, millis(quantile(lags, 0.5)))
	r.add(id, size(held), "expire event p99", "ms", nameOurs, millis(quantile(lags, 0.99)))
	r.add(id, size(held), serverShare, "% of a core", nameOurs, 100*(after-served).Seconds()/took.Seconds())
	return nil
}
