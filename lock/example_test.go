package lock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// connect is your own client. Here it is one of a server in this process.
func connect() (*redis.Client, func()) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	if err := server.Start(); err != nil {
		panic(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	return client, func() {
		_ = client.Close()
		server.Close()
	}
}

// Each resource is locked on its own; the error is nil only if all were.
func ExampleLocker_TryLock() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{TTL: 10 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	ctx := context.Background()

	_, err = locker.TryLock(ctx, lock.Claims("alice", "invoice 2")...)
	fmt.Println("alice:", err)

	results, err := locker.TryLock(ctx, lock.Claims("bob", "invoice 1", "invoice 2", "invoice 3")...)
	fmt.Println("bob:", err)
	for _, r := range results {
		fmt.Printf("%s: held by %s, refused: %v\n", r.Resource, r.Owner, errors.Is(r.Err, lock.ErrHeld))
	}

	_, err = locker.Unlock(ctx, results.Claims()...) // those that bob got
	fmt.Println("unlocked:", err)
	// Output:
	// alice: <nil>
	// bob: lock: TryLock: 1 of 3 failed; "invoice 2": lock: held by another
	// invoice 1: held by bob, refused: false
	// invoice 2: held by alice, refused: true
	// invoice 3: held by bob, refused: false
	// unlocked: <nil>
}

// Do waits for the lock, keeps it while the function runs, and releases it.
func ExampleLocker_Do() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()

	err = locker.Do(context.Background(), lock.Claim{Resource: "report"}, func(ctx context.Context, lease *lock.Lease) error {
		// Stop when ctx ends: then the lease is lost. Send lease.Fence() along
		// with what you write, for the storage to refuse a smaller one.
		fmt.Println("working on", lease.Resource(), "with a fence:", lease.Fence() > 0)
		return ctx.Err()
	})
	fmt.Println(err)
	// Output:
	// working on report with a fence: true
	// <nil>
}

// Hold keeps a lock across function calls. Its context bounds the waiting; the
// lease's own context tells when it is lost.
func ExampleLocker_Hold() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{Owner: "editor"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	lease, err := locker.Hold(ctx, lock.Claim{Resource: "page"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = locker.TryHold(ctx, lock.Claim{Resource: "page", Owner: "other"})
	fmt.Println("other:", err)

	err = lease.Release(ctx)
	fmt.Println("released:", err)
	fmt.Println("its context:", context.Cause(lease.Context()))
	// Output:
	// other: lock: held by another
	// released: <nil>
	// its context: lock: lease released
}

// Every watching process sees each expiry once.
func ExampleLocker_Watch() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	events, err := locker.Watch(ctx, lock.EventExpire)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = locker.TryLock(ctx, lock.Claim{Resource: "session", Owner: "alice", TTL: 50 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	for e := range events {
		if e.Kind == lock.EventMissed {
			continue // some were lost: look with List
		}
		fmt.Println(e.Kind, e.Resource, "of", e.Owner)
		break
	}
	// Output: expire session of alice
}

// A job's run is attempted until it is done; then everybody is told.
func ExampleJobs_Await() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	ctx := context.Background()
	nightly := lock.JobClaim{
		ID:          lock.JobID{Key: "nightly", Run: "2026-11-22"},
		MaxAttempts: 3,
		Retention:   48 * time.Hour,
	}

	for {
		lease, result, err := locker.Jobs().Await(ctx, nightly)
		if errors.Is(err, lock.ErrJobDone) {
			fmt.Println("done in attempt", result.Job.Attempt)
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		end := lock.Settlement{End: lock.Done, Retention: nightly.Retention}
		if result.Job.Attempt == 1 { // the first one fails
			end.End, end.Cause = lock.Failed, "no disk space"
		}
		fmt.Println("attempt", result.Job.Attempt, end.End)
		if err := lease.Settle(ctx, end); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// attempt 1 failed
	// attempt 2 done
	// done in attempt 2
}
