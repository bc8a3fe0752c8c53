package lock_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestLeasesLiveOnWhileTheirSlotMoves, half-way for longer than a lease; and a
// claim in that time waits, and succeeds.
func TestLeasesLiveOnWhileTheirSlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns := c.Namespace(t)
	rdb := c.Client(t)
	ctx := within(t, 2*time.Minute)
	l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Shards: 1})
	other := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1})
	const ttl = time.Second
	leases := make([]*lock.Lease, 20)
	for i := range leases {
		leases[i] = must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: fmt.Sprint("r", i), TTL: ttl}))
	}
	key := keysOf(ns, 0)[locksAt]
	for round := range 2 {
		to := otherMaster(c, key)
		m, err := c.BeginMigration(ctx, c.Slot(key), to)
		wantErr(t, err, nil)
		left := must[int](t)(m.Remaining(ctx))
		wantErr(t, m.Move(ctx, (left+1)/2), nil)
		claimed := make(chan error, 1)
		go func() {
			_, err := other.TryLock(ctx, lock.Claims("other", fmt.Sprint("claimed meanwhile", round))...)
			claimed <- err
		}()
		pass(ctx, 3*ttl)
		for i, lease := range leases {
			wantErr(t, context.Cause(lease.Context()), nil)
			if left := time.Until(lease.Deadline()); left <= 0 {
				t.Errorf("round %d, lease %d: %v left", round, i, left)
			}
		}
		wantErr(t, m.Finish(ctx), nil)
		wantErr(t, receive(t, "the claim", claimed), nil)
		rs := must[lock.Results](t)(other.Owners(ctx, names("r", len(leases))...))
		for i, lease := range leases {
			if wantErr(t, context.Cause(lease.Context()), nil); rs[i].Fence != lease.Fence() {
				t.Errorf("round %d, lease %d is %+v in Redis", round, i, rs[i])
			}
		}
		_, err = other.TryLock(ctx, lock.Claims("other", "r0")...)
		wantErr(t, err, lock.ErrHeld)
	}
	for _, lease := range leases {
		wantErr(t, lease.Release(ctx), nil)
	}
}

// TestG2RenewalInAMigratingSlotOfAServerThatIsBehind: the clock of the server that
// has the slot is behind, so that an entry's end is further away than its lease
// is long. No renewal makes the lease be relied on for longer than that.
func TestG2RenewalInAMigratingSlotOfAServerThatIsBehind(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns := c.Namespace(t)
	ctx := within(t, 2*time.Minute)
	l := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1})
	const ttl = 2 * time.Second
	le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: ttl}))
	key := keysOf(ns, 0)[locksAt]
	m, err := c.BeginMigration(ctx, c.Slot(key), otherMaster(c, key))
	wantErr(t, err, nil)
	node := c.MasterOf(key).Client(t)
	v := must[string](t)(node.HGet(ctx, key, "r").Result())
	end := must[int64](t)(strconv.ParseInt(v[1:15], 10, 64)) + time.Hour.Milliseconds()
	wantErr(t, node.HSet(ctx, key, "r", fmt.Sprintf("L%014d%s", end, v[15:])).Err(), nil)
	pass(ctx, ttl)
	wantErr(t, context.Cause(le.Context()), nil)
	if left := time.Until(le.Deadline()); left > ttl {
		t.Errorf("a lease of %v is relied on for %v", ttl, left)
	}
	wantErr(t, m.Finish(ctx), nil)
}

// TestWaitersAreServedWhileTheirSlotMoves back and forth.
func TestWaitersAreServedWhileTheirSlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns := c.Namespace(t)
	ctx := within(t, 2*time.Minute)
	const lockers, rounds = 4, 40
	var book ledger
	finished := make(chan error, lockers)
	for range lockers {
		l := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1})
		go func() {
			for range rounds {
				lease, err := l.Hold(ctx, lock.Claim{Resource: "r", TTL: 10 * time.Second})
				if err == nil {
					book.add(tenure{Fence: lease.Fence(), From: grantedAt(lease.Fence()), To: grantedAt(lease.Fence())})
					pass(ctx, 20*time.Millisecond)
					err = lease.Release(ctx)
				}
				if err != nil {
					finished <- err
					return
				}
			}
			finished <- nil
		}()
	}
	key := keysOf(ns, 0)[locksAt]
	for range 4 {
		wantErr(t, c.MigrateSlot(ctx, c.Slot(key), otherMaster(c, key), 300*time.Millisecond), nil)
	}
	for range lockers {
		wantErr(t, receive(t, "a contender's end", finished), nil)
	}
	book.check(t, lockers*rounds)
}

// TestWorkGoesOnAfterAFailover of a cluster's master.
func TestWorkGoesOnAfterAFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own, redistest.NodeTimeout(time.Second))
	ns := c.Namespace(t)
	ctx := within(t, 2*time.Minute)
	l := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1})
	other := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Shards: 1})
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: 30 * time.Second}))
	next := make(chan error, 1)
	go func() {
		le, err := other.Hold(ctx, lock.Claim{Resource: "r", TTL: 30 * time.Second})
		if err == nil && le.Fence() <= lease.Fence() {
			err = fmt.Errorf("fence %d after %d", le.Fence(), lease.Fence())
		}
		next <- err
	}()
	key := keysOf(ns, 0)[locksAt]
	eventually(t, "a waiter", func() bool { return queued(t, c.Client(t), ns) > 0 })
	old := c.MasterOf(key)
	old.Kill()
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "s")...))
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	wantErr(t, context.Cause(lease.Context()), nil)
	wantErr(t, lease.Release(ctx), nil)
	wantErr(t, receive(t, "the next holder", next), nil)
}

// otherMaster returns a master that does not serve the slot of this key.
func otherMaster(c *redistest.Cluster, key string) *redistest.Server {
	masters := c.Masters()
	if masters[0].Addr() == c.MasterOf(key).Addr() {
		return masters[1]
	}
	return masters[0]
}
