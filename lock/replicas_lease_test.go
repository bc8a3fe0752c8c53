package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestRenewalThatIsNotReplicatedDoesNotCount: the lease is no longer for it, though
// the primary has renewed it, and is kept if the replica answers in time.
func TestRenewalThatIsNotReplicatedDoesNotCount(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	const ttl = 2 * time.Second
	ns, ctx := primary.Namespace(t), bounded(t)
	l := newLocker(t, primary, lock.Config{Namespace: ns, Replicas: 1})
	rdb := primary.Client(t)
	entry := func() string {
		return must[string](t)(rdb.HGet(ctx, keysOf(ns, 0)[locksAt], "r").Result())
	}
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: ttl}))
	first := lease.Deadline()
	eventually(t, "a renewal", func() bool { return lease.Deadline().After(first.Add(100 * time.Millisecond)) })

	replicas[0].Stop()
	before := entry()
	eventually(t, "a renewal at the primary alone", func() bool { return entry() != before })
	deadline := lease.Deadline()
	before = entry()
	eventually(t, "another one", func() bool { return entry() != before })
	if got := lease.Deadline(); got.After(deadline.Add(50 * time.Millisecond)) {
		t.Errorf("the lease is longer by %v without its replica", got.Sub(deadline))
	}
	replicas[0].Continue()
	eventually(t, "a renewal that counts", func() bool {
		return lease.Context().Err() != nil || lease.Deadline().After(deadline.Add(100*time.Millisecond))
	})
	wantErr(t, context.Cause(lease.Context()), nil)

	replicas[0].Kill()
	receive(t, "the end of the lease", lease.Context().Done())
	wantErr(t, context.Cause(lease.Context()), lock.ErrLeaseLost)
	if late := time.Since(lease.Deadline()); late < -ttl/20 {
		t.Errorf("it ended %v before its deadline", -late)
	}
	_, err := l.Extend(ctx, lock.Claim{Resource: "r", Owner: l.Owner(), Fence: lease.Fence(), TTL: time.Hour})
	if err = errors.Unwrap(err); err != nil && !strings.Contains(err.Error(), lock.ErrNotReplicated.Error()) {
		t.Errorf("Extend: %v", err)
	}
}

// TestExtendThatIsNotReplicatedIsAnError, and is repeated.
func TestExtendThatIsNotReplicatedIsAnError(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	l, ctx := newLocker(t, primary, lock.Config{Replicas: 1}), bounded(t)
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r", "s")...))
	claims := rs.Claims()
	for i := range claims {
		claims[i].TTL = time.Hour
	}
	replicas[0].Stop()
	rs, err := l.Extend(ctx, claims...)
	wantErr(t, err, lock.ErrNotReplicated)
	for _, r := range rs {
		if wantErr(t, r.Err, lock.ErrNotReplicated); r.TTL != 0 {
			t.Errorf("told %+v", r)
		}
	}
	replicas[0].Continue()
	rs = must[lock.Results](t)(l.Extend(ctx, claims...))
	for _, r := range rs {
		if r.TTL != time.Hour {
			t.Errorf("extended to %+v", r)
		}
	}
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
}

// TestOutcomeThatIsNotReplicatedIsAskedFor: Settle says so, the primary has it, and
// it succeeds when it is repeated with the replica there.
func TestOutcomeThatIsNotReplicatedIsAskedFor(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	ns, ctx := primary.Namespace(t), bounded(t)
	l := newLocker(t, primary, lock.Config{Namespace: ns, Replicas: 1})
	d := desk{t, l}
	for _, end := range []lock.End{lock.Done, lock.Failed, lock.Exhausted, lock.Returned} {
		id := lock.JobID{Key: "job " + end.String()}
		lease, _, err := attempt(ctx, l, id, time.Minute, 3)
		wantErr(t, err, nil)
		replicas[0].Stop()
		settlement := lock.Settlement{End: end, Retention: time.Hour}
		err = lease.Settle(ctx, settlement)
		wantErr(t, err, lock.ErrNotReplicated)
		if errors.Is(err, lock.ErrOutcomeUnknown) {
			t.Errorf("it is known: %v", err)
		}
		state := d.get(id).State
		if state == lock.JobRunning {
			t.Errorf("%v: the primary has it as %v", end, state)
		}
		wantErr(t, lease.Settle(ctx, settlement), lock.ErrNotReplicated)
		wantErr(t, context.Cause(lease.Context()), nil)
		replicas[0].Continue()
		wantErr(t, lease.Settle(ctx, settlement), nil)
		wantErr(t, context.Cause(lease.Context()), lock.ErrReleased)
		record := func(s *redistest.Server) string {
			return fmt.Sprint(must[map[string]string](t)(s.Client(t).HGetAll(ctx, keysOf(ns, 0)[jobsAt]).Result()))
		}
		if record(primary) != record(replicas[0]) || d.get(id).State != state {
			t.Errorf("%v: the replica has %s", end, record(replicas[0]))
		}
	}
}
