package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// waiting has 1,000 lockers wait for a lock that another one holds and keeps, and counts what they send meanwhile.
func waiting(ctx context.Context, b *bench, id string) error {
	libs := b.among(nameOurs)
	if len(libs) == 0 {
		return nil
	}
	n := pick(b, 1000, 100)
	if err := b.server.empty(ctx); err != nil {
		return err
	}
	clients, closeAll, err := openMany(libs[0], place{addr: b.server.addr, small: true}, n+1)
	if err != nil {
		return err
	}
	defer closeAll()
	release, err := clients[n].wait(ctx, contested)
	if err != nil {
		return err
	}
	ended, end := context.WithCancelCause(ctx)
	var lockers sync.WaitGroup
	errs := make(chan error, n)
	for _, c := range clients[:n] {
		lockers.Go(func() {
			if _, err := c.wait(ended, contested); !errors.Is(err, errEnough) {
				errs <- err
			}
		})
	}
	stop := func() {
		end(errEnough)
		lockers.Wait()
	}
	defer stop()

	// The first minute has fewer calls than the later ones: who stands far behind asks for the first time after 100 s.
	if err := sleep(ctx, pick(b, 120*time.Second, time.Second)); err != nil {
		return err
	}
	window := pick(b, 6*time.Second, time.Second)
	for range b.rounds {
		if err := b.server.resetCommands(ctx); err != nil {
			return err
		}
		began := time.Now()
		if err := sleep(ctx, window); err != nil {
			return err
		}
		counts, err := b.server.commands(ctx)
		if err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		b.report.add(id, size(n), "script calls", "1/s", nameOurs, float64(total(counts, "eval", "evalsha"))/took)
		b.report.add(id, size(n), "commands", "1/s", nameOurs, float64(total(counts))/took)
	}
	b.report.atMost(id, "script calls a second", 60, b.report.median(id, size(1000), "script calls", nameOurs))
	stop()
	close(errs)
	for err := range errs {
		b.report.breaksf(id, "a waiter ended with %v while the lock was held", err)
	}
	return release(ctx)
}

var errEnough = errors.New("enough")
