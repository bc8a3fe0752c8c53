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
	about   string // what is done and counted, for the page
	cluster bool   // needs the cluster
	run     func(ctx context.Context, b *bench, id string) error
}

var scenarios = []scenario{
	{
		id: "1", title: "Lock and unlock collections", run: collections,
		about: "Collections of 1,000 free resources are locked and then unlocked, one collection after another. Ours and the unsafe pipeline " +
			"send each as one; the others know no collections and lock one by one, with as many goroutines as suits them. " +
			"A resource counts once it was locked and unlocked.",
	},
	{
		id: "2", title: "One client, one key, nobody else", run: uncontended,
		about: "One goroutine locks and unlocks one key, again and again: two round trips, which are most of the time.",
	},
	{
		id: "3", title: "One client, 128 goroutines, own keys", run: parallel,
		about: "Each goroutine locks and unlocks a key of its own, again and again, as handlers of requests would. It shows what a " +
			"client makes of calls that happen to be made together.",
	},
	{
		id: "4", title: "Hand-over: many lockers, one key", run: handOffs,
		about: "Each locker has connections of its own, as processes would. All want one key; who gets it holds it for a millisecond, " +
			"releases it and asks again at once. The gap is the time from the call that releases to the grant of another locker; grants to " +
			"the locker that has just released are not in it, so look at “grants to another” beside it: where they are few, " +
			"the lock hardly moved, and short gaps come from lockers that happened to ask at that moment. Commands are all that the server executed, those " +
			"inside scripts included. Stuck is who never got the lock, though all others had gone.",
	},
	{
		id: "5", title: "A thousand wait for a lock that stays held", run: waiting,
		about: "1,000 lockers wait while another one holds the lock and keeps it. After two minutes it is counted what they send.",
	},
	{
		id: "6", title: "Takeover of a dead holder’s lock", run: takeovers,
		about: "A holder dies: its lock is not renewed and runs out after 300 to 500 ms, while another locker waits. Late is the time from that " +
			"moment, counted from before the lock was taken, to the other’s grant.",
	},
	{
		id: "7", title: "Leases that one process keeps", run: leases,
		about: "One process keeps 100,000 leases of 5 s for 30 s. Of the others only rueidislock keeps leases; it has 20,000, and scenario 10 has " +
			"both at that size. Bytes are heap and stacks after a collection, time is processor time of the whole client process or the whole server.",
	},
	{
		id: "8", title: "Expiry events", run: expiries,
		about: "1,000 locks a second run out, while many others are held. Counted is how late a watcher is told, and the server’s work, which " +
			"should follow what expires and not what is held.",
	},
	{
		id: "9", title: "Cluster of three masters", cluster: true, run: onCluster,
		about: "Collections of 1,000 in the default namespace with its default 64 shards. A round trip to a node is a write on one of its connections after a " +
			"read; the share is how far the fullest or emptiest node is from a third of the resources.",
	},
	{
		id: "10", title: "Growth: half and double size", run: growth,
		about: "Scenarios 1, 4 and 7 at half and at double size. What one resource, grant or lease costs should not depend on how many there are.",
	},
	{
		id: "11", title: "Sixteen processes, the same 10,000 jobs", run: pools,
		about: "Each process is to see to all of the jobs, 16 at a time, in an order of its own; each job’s work appends a line to a file. Every job must " +
			"stand there once. RunAll is given them all; Run one by one; with redislock a key marks what is done, is looked at before the lock and behind it, and " +
			"jobs that another has are come back to. Elapsed is from the start of all processes, which are connected, to the end of the last.",
	},
	{
		id: "12", title: "The same, and three processes are killed", run: killedPools,
		about: "RunAll alone, with a lease of a second and works that take 2 ms more; the processes are killed while a fifth, two fifths and three fifths of the jobs are done. " +
			"All jobs must be done; twice only what a killed process had begun.",
	},
}

// A bench is one run of the program.
type bench struct {
	options
	server  *server
	cluster *cluster
	report  *report
	current string // the scenario that is being measured
}

// scenarioBound is more than any scenario takes.
const scenarioBound = 45 * time.Minute

func (b *bench) measure(ctx context.Context, chosen []scenario) error {
	for _, s := range chosen {
		log.Printf("scenario %s: %s", s.id, s.title)
		b.current = s.id
		bounded, cancel := context.WithTimeout(ctx, scenarioBound)
		err := s.run(bounded, b, s.id)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil: // the others' numbers are worth having
			log.Printf("scenario %s: %v", s.id, err)
			b.report.breaksf(s.id, "%v", err)
		}
	}
	return nil
}

// carryOn notes what a contender's round ended with: an error of ours ends the scenario, and that of another is told.
func (b *bench) carryOn(ctx context.Context, l library, round int, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || l.module == "":
		return fmt.Errorf("%s: %w", l.name, err)
	default:
		log.Printf("scenario %s, round %d: %s: %v", b.current, round+1, l.name, err)
		b.report.failsf(b.current, "%s, round %d: %v", l.name, round+1, err)
		return nil
	}
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
			if err := b.carryOn(ctx, l, round, f(l)); err != nil {
				return err
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
