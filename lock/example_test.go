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

// exampleLocker is one on a Redis of its own. Programs write
//
//	locker, err := lock.New(redis.NewClient(options), lock.Config{})
func exampleLocker() (*lock.Locker, func()) {
	client, disconnect := connect()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		panic(err)
	}
	return locker, func() {
		_ = locker.Close()
		disconnect()
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

// All or none: where one is held, those that were free stay free.
func ExampleLocker_TryLockAll() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()

	if _, err := locker.TryLock(ctx, lock.Claims("alice", "account 2")...); err != nil {
		fmt.Println(err)
		return
	}
	results, err := locker.TryLockAll(ctx, lock.Claims("bob", "account 1", "account 2")...)
	fmt.Println("held:", errors.Is(err, lock.ErrHeld))
	for _, r := range results {
		fmt.Println(r.Resource, "-", r.Err)
	}
	// Output:
	// held: true
	// account 1 - lock: set refused
	// account 2 - lock: held by another
}

// Alice has a page open and has gone home: Bob takes it. What she does with her grant is refused from then on.
func ExampleLocker_ForceLock() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()

	hers, err := locker.TryLock(ctx, lock.Claims("alice", "page")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	his, err := locker.ForceLock(ctx, lock.Claims("bob", "page")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("his fence is larger:", his[0].Fence > hers[0].Fence)
	results, err := locker.Extend(ctx, hers.Claims()...)
	fmt.Println("alice:", err)
	fmt.Println("it is held by", results[0].Owner)
	// Output:
	// his fence is larger: true
	// alice: lock: Extend: 1 of 1 failed; "page": lock: held by another
	// it is held by bob
}

// Extend sets the time left. It never adds to it, and never shortens it.
func ExampleLocker_Extend() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()

	if _, err := locker.TryLock(ctx, lock.Claim{Resource: "page", Owner: "alice", TTL: 10 * time.Minute}); err != nil {
		fmt.Println(err)
		return
	}
	for _, ttl := range []time.Duration{time.Hour, time.Minute} {
		results, err := locker.Extend(ctx, lock.Claim{Resource: "page", Owner: "alice", TTL: ttl})
		fmt.Println(results[0].TTL.Round(time.Minute), err)
	}
	_, err := locker.Extend(ctx, lock.Claim{Resource: "other page", Owner: "alice"})
	fmt.Println("not locked, or not any more:", errors.Is(err, lock.ErrNotHeld))
	// Output:
	// 1h0m0s <nil>
	// 1h0m0s <nil>
	// not locked, or not any more: true
}

// List is what an administrator looks at, however many locks there are: it comes page by page.
func ExampleLocker_List() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()

	claims := append(lock.Claims("alice", "eu/1", "us/1"), lock.Claims("bob", "eu/2")...)
	if _, err := locker.TryLock(ctx, claims...); err != nil {
		fmt.Println(err)
		return
	}
	for r, err := range locker.List(ctx, lock.Query{Prefix: "eu/"}) {
		if err != nil {
			fmt.Println(err)
			continue // a value that is not this package's, or the last
		}
		fmt.Println(r.Resource, "is held by", r.Owner)
	}
	// Unordered output:
	// eu/1 is held by alice
	// eu/2 is held by bob
}

// Of all tenants this process serves those that no other has, for as long as it lives.
func ExampleLocker_Keep() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()

	if _, err := locker.TryLock(ctx, lock.Claims("another process", "tenant 2")...); err != nil {
		fmt.Println(err)
		return
	}
	results, err := locker.TryLock(ctx, lock.Claims(locker.Owner(), "tenant 1", "tenant 2", "tenant 3")...)
	if err != nil && !errors.Is(err, lock.ErrHeld) {
		fmt.Println(err)
		return
	}
	leases, err := locker.Keep(ctx, results.OK()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, lease := range leases { // renewed from here on, together
		fmt.Println("serving", lease.Resource())
		if err := lease.Release(ctx); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// serving tenant 1
	// serving tenant 3
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

// Check tells before it matters what would go wrong: here a configuration that is not the one of the others.
func ExampleCheck() {
	client, disconnect := connect()
	defer disconnect()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locker.Close()
	ctx := context.Background()
	if _, err := locker.TryLock(ctx, lock.Claims("alice", "page")...); err != nil {
		fmt.Println(err)
		return
	}

	report, err := lock.Check(ctx, client, lock.Config{Shards: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range report.Findings {
		if f.Severity == lock.SeverityProblem {
			fmt.Println(f)
		}
	}
	// Output:
	// problem  shards-mismatch: Config.Shards is 16, but namespace "lockingworker" has "1"
	//          → use the number that the namespace has, or another namespace: every call is refused (ErrShardMismatch)
}
