package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"
)

// A scenario is one thing that is measured.
type scenario struct {
	id      string
	title   string
	cluster bool // needs the cluster
	run     func(ctx context.Context, b *bench, id string) error
}

var scenarios = []scenario{
	{id: "1", title: "lock + unlock of collections", run: collections},
	{id: "2", title: "one client, one key, uncontended", run: uncontended},
	{id: "3", title: "one client, 128 goroutines, own keys", run: parallel},
	{id: "4", title: "hand-off: many lockers, one key", run: handOffs},
	{id: "5", title: "1,000 lockers wait for a lock that stays held", run: waiting},
	{id: "6", title: "takeover of a dead holder's lock", run: takeovers},
	{id: "7", title: "leases that one process keeps", run: leases},
	{id: "8", title: "expiry events", run: expiries},
	{id: "9", title: "cluster of three masters, collections of 1,000", cluster: true, run: onCluster},
	{id: "10", title: "growth: half and double size", run: growth},
}

// A bench is one run of the program.
type bench struct {
	options
	server  *server
	cluster *cluster
	report  *report
}

// scenarioBound is more than any scenario takes.
const scenarioBound = 45 * time.Minute

func (b *bench) measure(ctx context.Context, chosen []scenario) error {
	for _, s := range chosen {
		log.Printf("scenario %s: %s", s.id, s.title)
		bounded, cancel := context.WithTimeout(ctx, scenarioBound)
		err := s.run(bounded, b, s.id)
		cancel()
		if err != nil {
			return fmt.Errorf("scenario %s: %w", s.id, err)
		}
	}
	return nil
}

// among returns those of the libraries that take part.
func (b *bench) among(names ...string) []library {
	var out []library
	for _, l := range libraries {
		if slices.Contains(names, l.name) && (len(b.contenders) == 0 || slices.Contains(b.contenders, l.name)) {
			out = append(out, l)
		}
	}
	return out
}

// alternate calls f for each library in each round; each round begins with another library. The server is emptied before.
func (b *bench) alternate(ctx context.Context, libs []library, f func(library) error) error {
	for round := range b.rounds {
		for i := range libs {
			l := libs[(i+round)%len(libs)]
			if err := b.server.empty(ctx); err != nil {
				return err
			}
			if err := f(l); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	return nil
}

// span is how long a steady measurement takes.
func (b *bench) span() time.Duration {
	if b.quick {
		return 200 * time.Millisecond
	}
	return 2 * time.Second
}

// pick returns the size of a run.
func pick[T any](b *bench, full, quick T) T {
	if b.quick {
		return quick
	}
	return full
}
