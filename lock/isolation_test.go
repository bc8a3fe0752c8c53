package lock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestOneCallerWhoCancelsFailsNobodyElse: calls of many callers are under way
// together, and those of one end.
func TestOneCallerWhoCancelsFailsNobodyElse(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	ctx := bounded(t)
	must[lock.Results](t)(l.Owners(ctx, names("warm up", 10)...))
	p.Delay(150 * time.Millisecond)
	leave, cancel := context.WithCancel(ctx)
	left := make(chan error, 10)
	var all sync.WaitGroup
	for i := range 40 {
		if i%4 == 0 {
			go func() {
				rs, err := l.TryLock(leave, lock.Claims("leaves", names(fmt.Sprint(i, "-"), 20)...)...)
				if err == nil && s.Options().ContextTimeoutEnabled { // then it may be answered before it notices
					if _, err = l.Unlock(ctx, rs.Claims()...); err == nil {
						err = context.Cause(leave)
					}
				}
				left <- err
			}()
			continue
		}
		all.Go(func() {
			rs, err := l.TryLock(ctx, lock.Claims("stays", names(fmt.Sprint(i, "-"), 20)...)...)
			if err == nil {
				_, err = l.Unlock(ctx, rs.Claims()...)
			}
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	cancel()
	for range 10 {
		wantErr(t, receive(t, "a caller's return", left), context.Canceled)
	}
	all.Wait()
	p.Delay(0)
	eventually(t, "what was granted to those who left to be given back", func() bool {
		for r, err := range l.List(ctx, lock.Query{}) {
			if err != nil || r.Owner == "leaves" {
				return false
			}
		}
		return true
	})
}

// TestOneLostReplyDelaysNobodyElse: the caller whose reply is lost waits for
// another send; the others do not.
func TestOneLostReplyDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	ctx := bounded(t)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
	victim := func(command []string) bool {
		for _, arg := range command {
			if arg == "victim" {
				return true
			}
		}
		return false
	}
	loss := p.DropReplies(victim, 1, redistest.ThenHang)
	late := make(chan error, 1)
	go func() {
		_, err := l.TryLock(ctx, lock.Claims("me", "victim")...)
		late <- err
	}()
	receive(t, "the loss", loss.Done())
	began := time.Now()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			lease, err := l.Hold(ctx, lock.Claim{Resource: fmt.Sprint("r", i)})
			if err == nil {
				err = lease.Release(ctx)
			}
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > noise {
		t.Errorf("the others took %v", took)
	}
	wantErr(t, receive(t, "the victim's answer", late), nil)
}

// TestOneNodeThatHangsDelaysNobodyElse: of a cluster.
func TestOneNodeThatHangsDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own, redistest.NodeTimeout(time.Minute)) // no failover
	ns := c.Namespace(t)
	l := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns})
	ctx := bounded(t)
	const ttl = 3 * time.Second                                                            // what waits for the node waits for as long: a client's ReadTimeout
	all := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", 300)...)...)) // all scripts are loaded
	must[lock.Results](t)(l.Extend(ctx, all.Claims()...))
	must[lock.Results](t)(l.Unlock(ctx, all.Claims()...))
	node := c.Masters()[0]
	var lost, kept []*lock.Lease // those of its resources, and of others
	for _, r := range names("kept", 30) {
		lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: r, TTL: ttl}))
		if c.MasterOf(keysOf(ns, int(xxhash.Sum64String(r)%64))[locksAt]).Addr() == node.Addr() {
			lost = append(lost, lease)
		} else {
			kept = append(kept, lease)
		}
	}
	if len(lost) == 0 || len(kept) == 0 {
		t.Fatalf("%d of 30 leases are with the node: this test shows nothing", len(lost))
	}
	node.Stop()

	// A collection over all nodes: results of the healthy ones, by the deadline.
	const deadline = 700 * time.Millisecond
	began := time.Now()
	rs, err := l.TryLock(within(t, deadline), lock.Claims("me", names("r", 300)...)...)
	if took := time.Since(began); took > deadline+noise {
		t.Errorf("the collection took %v", took)
	}
	wantErr(t, err, context.DeadlineExceeded)
	var hung []string
	for i, r := range rs {
		switch {
		case r.Err == nil && r.Fence > 0 && r.Owner == "me":
		case errors.Is(r.Err, context.DeadlineExceeded):
			hung = append(hung, r.Resource)
		default:
			t.Errorf("result %d is %+v", i, r)
		}
	}
	if len(hung) < 50 || len(hung) > 150 {
		t.Errorf("%d of 300 resources hung, want about a third", len(hung))
	}
	healthy := rs.OK()

	// Callers of the hung node's resources wait; the others do not notice.
	stop, cancel := context.WithCancel(ctx)
	var waiting, others sync.WaitGroup
	for _, r := range hung[:min(20, len(hung))] {
		waiting.Go(func() { _, _ = l.Hold(stop, lock.Claim{Resource: r}) })
		waiting.Go(func() { _, _ = l.TryLock(stop, lock.Claims("me", r)...) })
	}
	for i := range 10 {
		others.Go(func() {
			for n := i; stop.Err() == nil; n += 10 {
				r := healthy[n%len(healthy)]
				began := time.Now()
				if _, err := l.Extend(ctx, lock.Claim{Resource: r.Resource, Owner: "me", Fence: r.Fence}); err != nil {
					t.Errorf("%s: %v", r.Resource, err)
				}
				if took := time.Since(began); took > ttl/2 {
					t.Errorf("%s took %v", r.Resource, took)
				}
				pass(stop, 20*time.Millisecond)
			}
		})
	}
	for _, lease := range lost {
		receive(t, "the end of a lease of the node's", lease.Context().Done())
		wantErr(t, context.Cause(lease.Context()), lock.ErrLeaseLost)
	}
	cancel()
	others.Wait()
	waiting.Wait()
	for _, lease := range kept {
		wantErr(t, context.Cause(lease.Context()), nil)
		if now := must[lock.Results](t)(l.Owners(ctx, lease.Resource()))[0]; now.Fence != lease.Fence() {
			t.Errorf("the lease with fence %d is %+v in Redis", lease.Fence(), now)
		}
	}
}
