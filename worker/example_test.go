package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/worker"
)

// exampleLocker is a Locker on a Redis of its own. Programs write
//
//	locker, err := lock.New(redis.NewClient(options), lock.Config{})
func exampleLocker() (*lock.Locker, func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		panic(err)
	}
	return locker, func() {
		_ = locker.Close()
		_ = client.Close()
		server.Close()
	}
}

// However many processes run this every night, one of them sends the report. If it fails, the next one
// tries; those that come late are told that it is done.
func Example() {
	locker, stop := exampleLocker()
	defer stop()
	reports, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}
	job := worker.Job{Key: "report", Run: worker.Daily(time.Now())}
	sendReport := func(ctx context.Context, a worker.Attempt) error {
		fmt.Printf("sending, attempt %d of %d\n", a.Number, a.Max)
		return nil
	}

	for range 2 {
		outcome, err := reports.Run(context.Background(), job, sendReport)
		fmt.Println(outcome, err)
	}
	// Output:
	// sending, attempt 1 of 5
	// completed <nil>
	// completed-elsewhere <nil>
}

// However many processes are given these tenants, each is billed once this month. The sequence may as well
// come from a database, page by page.
func ExampleWorker_RunAll() {
	locker, stop := exampleLocker()
	defer stop()
	bills, err := worker.New(locker, worker.Config{Concurrency: 2})
	if err != nil {
		panic(err)
	}
	tenants := func(yield func(worker.Job) bool) {
		for i := range 1000 {
			if !yield(worker.Job{Key: fmt.Sprintf("bill/%d", i), Run: worker.Once("2026-11")}) {
				return
			}
		}
	}
	var billed atomic.Int64
	bill := func(ctx context.Context, a worker.Attempt) error {
		billed.Add(1)
		return nil
	}

	for range 2 {
		summary, err := bills.RunAll(context.Background(), tenants, bill)
		fmt.Println(summary, err)
	}
	fmt.Println(billed.Load(), "bills")
	// Output:
	// 1000 completed <nil>
	// 1000 completed-elsewhere <nil>
	// 1000 bills
}

// Acquire is for work that is no function: the attempt is settled when it has ended.
func ExampleWorker_Acquire() {
	locker, stop := exampleLocker()
	defer stop()
	migrations, err := worker.New(locker, worker.Config{MaxWait: worker.NoWait})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	job := worker.Job{Key: "migrate", Run: worker.Once("v42")}

	grant, err := migrations.Acquire(ctx, job)
	if err != nil {
		panic(err)
	}
	fmt.Println("attempt", grant.Attempt().Number)
	_, err = migrations.Acquire(ctx, job)
	fmt.Println("meanwhile, held:", errors.Is(err, lock.ErrHeld))
	if err := grant.Done(ctx); err != nil {
		panic(err) // whoever is next works again: the fence keeps the data whole
	}
	_, err = migrations.Acquire(ctx, job)
	fmt.Println("afterwards, done:", errors.Is(err, worker.ErrDone))
	// Output:
	// attempt 1
	// meanwhile, held: true
	// afterwards, done: true
}

// A grant that is not Done has failed, and another attempt follows, or was given back, and does not count.
func ExampleGrant() {
	locker, stop := exampleLocker()
	defer stop()
	imports, err := worker.New(locker, worker.Config{RetryDelay: worker.HandOver})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	ends := []func(*worker.Grant) error{
		func(g *worker.Grant) error { return g.GiveBack(ctx) },
		func(g *worker.Grant) error { return g.Fail(ctx, errors.New("no disk space")) },
		func(g *worker.Grant) error { return g.Done(ctx) },
	}
	for _, end := range ends {
		grant, err := imports.Acquire(ctx, worker.Job{Key: "import"})
		if err != nil {
			panic(err)
		}
		fmt.Println("attempt", grant.Attempt().Number)
		if err := end(grant); err != nil {
			panic(err)
		}
	}
	// Output:
	// attempt 1
	// attempt 1
	// attempt 2
}

// What has become of a job, and how it is begun anew.
func ExampleWorker_Reset() {
	locker, stop := exampleLocker()
	defer stop()
	imports, err := worker.New(locker, worker.Config{MaxAttempts: 1})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	job := worker.Job{Key: "import", Run: worker.Once("november")}
	file := errors.New("file is damaged")
	load := func(context.Context, worker.Attempt) error { return file }

	for range 2 { // the second finds the first one's outcome
		outcome, err := imports.Run(ctx, job, load)
		fmt.Println(outcome, err)
	}
	info, err := imports.State(ctx, job)
	if err != nil {
		panic(err)
	}
	fmt.Println(info.State, "after", info.Attempt, "of", info.Max, "-", info.Cause)

	file = nil // mended
	if err := imports.Reset(ctx, job); err != nil {
		panic(err)
	}
	outcome, err := imports.Run(ctx, job, load)
	fmt.Println(outcome, err)
	// Output:
	// exhausted worker: job is exhausted: "import" run "november" at attempt #1: file is damaged
	// exhausted worker: job is exhausted: "import" run "november" at attempt #1: file is damaged
	// exhausted after 1 of 1 - file is damaged
	// completed <nil>
}

// Status events say what a worker does, in the words of redis-locking-worker.
func ExampleHandlers() {
	locker, stop := exampleLocker()
	defer stop()
	w, err := worker.New(locker, worker.Config{
		MaxAttempts: 2,
		RetryDelay:  worker.HandOver,
		StatusLevel: status.Verbose,
		Handlers: worker.Handlers{
			OnStatus: func(e status.Event) { fmt.Println(e) },
			OnFailed: func(a worker.Attempt, err error) { fmt.Printf("#%d failed: %v\n", a.Number, err) },
		},
	})
	if err != nil {
		panic(err)
	}
	outcome, err := w.Run(context.Background(), worker.Job{Key: "job"}, func(context.Context, worker.Attempt) error {
		return errors.New("no luck")
	})
	fmt.Println(outcome, errors.Is(err, worker.ErrExhausted))
	// Output:
	// Current attempt count: 0
	// This is attempt #1
	// #1 failed: no luck
	// Work was not completed, trying to reacquire lock for attempt #1
	// Trying to reacquire lock
	// Current attempt count: 1
	// This is attempt #2
	// #2 failed: no luck
	// Exceeded maximum attempts, giving up!
	// exhausted true
}

// An error that another attempt would not mend ends the job for everybody.
func ExamplePermanent() {
	locker, stop := exampleLocker()
	defer stop()
	w, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}
	_, err = w.Run(context.Background(), worker.Job{Key: "import"}, func(context.Context, worker.Attempt) error {
		return worker.Permanent(errors.New("file is damaged"))
	})
	fmt.Println(err)
	// Output:
	// worker: job is exhausted: "import" at attempt #1: file is damaged
}

// The delay after the third attempt, by any process, is the policy's third.
func ExampleBackoff() {
	delay := worker.Backoff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(time.Second),
			backoff.WithMultiplier(3),
			backoff.WithRandomizationFactor(0))
	})
	cfg := worker.Config{RetryDelay: delay}
	fmt.Println(cfg.RetryDelay(worker.Attempt{Number: 3}, nil))
	// Output:
	// 9s
}

// Once per period of a quarter of an hour, in which whoever comes first does it.
func ExampleEvery() {
	now := time.Date(2026, 11, 22, 10, 37, 0, 0, time.UTC)
	run := worker.Every(15*time.Minute, now)
	fmt.Println(run.Name, "remembered for", run.Retention)
	// Output:
	// 2026-11-22T10:30:00Z remembered for 30m0s
}

// A day is that of the time's location, so all workers should use the same one.
func ExampleDaily() {
	now := time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC)
	fmt.Println(worker.Daily(now).Name)
	fmt.Println(worker.Daily(now.In(time.FixedZone("CET", 3600))).Name)
	// Output:
	// 2026-11-22
	// 2026-11-23
}

// The migration to each version runs once, ever, also where an older program starts late.
func ExampleOnce() {
	locker, stop := exampleLocker()
	defer stop()
	migrations, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}
	for _, version := range []string{"v41", "v42", "v41"} {
		job := worker.Job{Key: "migrate", Run: worker.Once(version)}
		outcome, err := migrations.Run(context.Background(), job, func(context.Context, worker.Attempt) error {
			return nil
		})
		fmt.Println(version, outcome, err)
	}
	// Output:
	// v41 completed <nil>
	// v42 completed <nil>
	// v41 completed-elsewhere <nil>
}
