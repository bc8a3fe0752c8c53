package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// runWorker is a worker's process. It returns when the job is done or exhausted, whoever did it, or when it is
// interrupted. Its exit status says whether it knows how the job ended.
func runWorker(number int, set settings) int {
	reports := newReporter(number)
	outcome, err := set.run(number, reports)
	if outcome == 0 {
		reports.send(report{Event: eventError, Text: err.Error()})
		return 1
	}
	return 0
}

func (set settings) run(number int, reports *reporter) (worker.Outcome, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent closes it, or dies
		cancel()
	}()

	options, err := parseURL(set.redis)
	if err != nil {
		return 0, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	locker, err := lock.New(client, lock.Config{Owner: ownerName(number)})
	if err != nil {
		return 0, err
	}
	defer locker.Close()
	w, err := worker.New(locker, worker.Config{
		TTL:         set.lockTimeout,
		MaxAttempts: set.maxAttempts,
		RetryDelay:  func(worker.Attempt, error) time.Duration { return set.retryDelay },
		StatusLevel: set.status,
		Handlers:    reports.handlers(),
	})
	if err != nil {
		return 0, err
	}
	return w.Run(ctx, worker.Job{Key: set.key}, func(ctx context.Context, a worker.Attempt) error {
		reports.attempt(eventAcquired, a)
		err := set.do(ctx, a)
		if errors.Is(err, errUnlucky) {
			reports.attempt(eventFailed, a)
		}
		return err
	})
}

var errUnlucky = errors.New("no luck this time")

// do is the work.
func (set settings) do(ctx context.Context, a worker.Attempt) error {
	pause := time.NewTimer(set.work)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !lucky(set.seed, a.Number, set.success) {
		return errUnlucky
	}
	return nil
}

// lucky decides whether an attempt succeeds, whichever worker makes it.
func lucky(seed uint64, attempt int, chance float64) bool {
	return rand.New(rand.NewPCG(seed, uint64(attempt))).Float64() < chance
}

func ownerName(number int) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s-%d-worker%d", host, os.Getpid(), number)
}
