//go:build unix

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// harmless are the errors that a contender may meet when connections break.
var harmless = []error{
	lock.ErrHeld, lock.ErrNotHeld, lock.ErrLeaseLost, lock.ErrOutcomeUnknown, lock.ErrUnavailable,
	context.DeadlineExceeded, context.Canceled,
}

func isHarmless(err error) bool {
	for _, h := range harmless {
		if errors.Is(err, h) {
			return true
		}
	}
	return err == nil
}

// contend locks a resource in every way there is, over and over, and tells each
// tenure that it can prove by Redis's clock, until ctx ends.
func contend(ctx context.Context, t testing.TB, l *lock.Locker, clock *redis.Client, resource string, add func(tenure)) {
	ways := []func(context.Context, int) error{
		func(ctx context.Context, _ int) error { return contendTry(ctx, l, clock, resource, add) },
		func(ctx context.Context, _ int) error { return contendHold(ctx, l, clock, resource, add) },
		func(ctx context.Context, i int) error {
			return contendJob(ctx, l, clock, lock.JobID{Key: resource, Run: fmt.Sprint("run", i%3)}, add)
		},
	}
	var all sync.WaitGroup
	for _, way := range ways {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := way(ctx, i); !isHarmless(err) {
					t.Errorf("contender: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}

// contendTry takes a short lock and keeps it for less or for more than its lease time.
func contendTry(ctx context.Context, l *lock.Locker, clock *redis.Client, resource string, add func(tenure)) error {
	const ttl = 40 * time.Millisecond
	rs, err := l.TryLock(ctx, lock.Claim{Resource: resource, Owner: "try", TTL: ttl})
	if err != nil {
		pass(ctx, time.Duration(1+rand.IntN(5))*time.Millisecond)
		return err
	}
	pass(ctx, time.Duration(rand.IntN(60))*time.Millisecond)
	te := tenure{Fence: rs[0].Fence, From: grantedAt(rs[0].Fence)}
	te.To = te.From + (ttl - time.Millisecond).Microseconds() // the lease is counted in whole ms
	if now, err := redisMicros(ctx, clock); err != nil {
		te.To = te.From
	} else if now < te.To {
		te.To = now
	}
	add(te)
	_, err = l.Unlock(ctx, rs.Claims()...)
	return err
}

// contendHold waits for the lock.
func contendHold(ctx context.Context, l *lock.Locker, clock *redis.Client, resource string, add func(tenure)) error {
	lease, err := l.Hold(ctx, lock.Claim{Resource: resource, TTL: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	pass(lease.Context(), time.Duration(rand.IntN(3))*time.Millisecond)
	add(held(ctx, clock, lease.Context(), lease.Fence()))
	return lease.Release(context.WithoutCancel(ctx))
}

// contendJob waits for an attempt and gives it back.
func contendJob(ctx context.Context, l *lock.Locker, clock *redis.Client, id lock.JobID, add func(tenure)) error {
	lease, res, err := attempt(ctx, l, id, 300*time.Millisecond, 1<<30)
	if err != nil {
		return err
	}
	pass(lease.Context(), time.Duration(rand.IntN(3))*time.Millisecond)
	add(held(ctx, clock, lease.Context(), res.Grant.Fence))
	end := []lock.End{lock.Failed, lock.Returned}[rand.IntN(2)]
	err = lease.Settle(context.WithoutCancel(ctx), lock.Settlement{End: end})
	if err != nil {
		lease.Lapse()
	}
	return err
}

func TestG1AtMostOneUnexpiredGrant(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	var book ledger
	ctx := within(t, 2*time.Second)
	var all sync.WaitGroup
	for range 4 {
		l := newLocker(t, s, lock.Config{Namespace: ns})
		clock := s.Client(t)
		all.Go(func() { contend(ctx, t, l, clock, "one", book.add) })
	}
	all.Wait()
	least := 30
	if !s.Real() {
		least = 5 // the embedded server needs longer for its Lua
	}
	book.check(t, least)
}

func TestG1AtMostOneUnexpiredGrantAmongProcesses(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	var book ledger
	children := make([]*child, 3)
	for i := range children {
		children[i] = spawn(t, s, order{Role: "contender", Namespace: ns, Resource: "one", For: 2 * time.Second})
	}
	for _, c := range children {
		c.await("begun")
	}
	contend(within(t, 2*time.Second), t, newLocker(t, s, lock.Config{Namespace: ns}), s.Client(t), "one", book.add)
	for i, c := range children {
		n := 0
		for st := receive(t, "a step", c.steps); st.Step != "end"; st = receive(t, "a step", c.steps) {
			if st.Step != "tenure" {
				t.Fatalf("the child did %+v", st)
			}
			book.add(st.tenure)
			n++
		}
		if n == 0 {
			t.Errorf("child %d was never granted", i)
		}
	}
	book.check(t, 50)
}

// TestG1AtMostOneUnexpiredGrantWhenConnectionsBreak contends while scripts are
// flushed, connections killed and replies dropped after execution.
func TestG1AtMostOneUnexpiredGrantWhenConnectionsBreak(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	ns := s.Namespace(t)
	admin := s.Client(t)
	ctx := within(t, 4*time.Second)
	var book ledger
	var all sync.WaitGroup
	for range 4 {
		l, p := newProxied(t, s, lock.Config{Namespace: ns})
		clock := s.Client(t)
		all.Go(func() { contend(ctx, t, l, clock, "one", book.add) })
		all.Go(func() { loseReplies(ctx, p) })
	}
	faults := map[time.Duration]func() error{
		7 * time.Millisecond:   func() error { return admin.ScriptFlush(ctx).Err() },
		90 * time.Millisecond:  func() error { return admin.ClientKillByFilter(ctx, "TYPE", "normal").Err() },
		130 * time.Millisecond: func() error { return admin.ClientKillByFilter(ctx, "TYPE", "pubsub").Err() },
	}
	for every, fault := range faults {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = fault()
				pass(ctx, every)
			}
		})
	}
	all.Wait()
	book.check(t, 5)
}
