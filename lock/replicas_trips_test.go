package lock_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestReplicasAreAskedInTheSameRoundTrip: one WAIT per node behind the scripts of a
// collection, and behind the single calls that travel together.
func TestReplicasAreAskedInTheSameRoundTrip(t *testing.T) {
	t.Parallel()
	primary, _ := redistest.StartReplicated(t, 1)
	l, p := newProxied(t, primary, lock.Config{Replicas: 1})
	ctx := bounded(t)
	asked := map[string]int{"TryLock": 1, "Extend": 1, "TryLockAll": 1, "ForceLock": 1}
	for round := range 2 {
		for _, step := range cycle(l, names("resource-", 1000)) {
			p.ResetCounters()
			if err := step.call(ctx); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if n, waits := p.RoundTrips(), p.Commands()["wait"]; round == 1 && (n != 1 || waits != asked[step.name]) {
				t.Errorf("%s of 1,000 resources took %d round trips and %d WAITs (%v)", step.name, n, waits, p.Commands())
			}
		}
	}
	p.Delay(4 * time.Millisecond)
	p.ResetCounters()
	const callers, times = 60, 5
	storm(callers, times, func(c, n int) {
		if _, err := l.TryLock(ctx, lock.Claim{Resource: fmt.Sprint(c, " ", n), Owner: "me"}); err != nil {
			t.Errorf("caller %d: %v", c, err)
		}
	})
	if waits := p.Commands()["wait"]; waits == 0 || waits > callers*times/4 {
		t.Errorf("%d WAITs for %d calls", waits, callers*times)
	}
}

// TestNoReplicasCostNothing: the commands are the same as ever.
func TestNoReplicasCostNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	ctx := bounded(t)
	for round := range 2 {
		p.ResetCounters()
		for _, step := range cycle(l, names("r", 3)) {
			wantErr(t, step.call(ctx), nil)
		}
		if c := p.Commands(); round == 1 && (len(c) != 1 || c["evalsha"] != 7) {
			t.Errorf("seven calls sent %v", c)
		}
	}
}

func TestReplicasAreAskedAtEveryMaster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	proxies := c.Proxies(t)
	o := c.Options()
	o.Dialer = redistest.Dialer(proxies...)
	rdb := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	l := newLockerOn(t, rdb, lock.Config{Namespace: c.Namespace(t), Replicas: 1})
	ctx := bounded(t)
	resources := names("resource-", 1000)
	var rs lock.Results
	for round := range 2 {
		for _, p := range proxies {
			p.ResetCounters()
		}
		rs = must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", resources...)...))
		for i, p := range proxies {
			n := p.RoundTrips() - p.Commands()["cluster"]
			if waits := p.Commands()["wait"]; round == 1 && (n > 1 || waits != n) {
				t.Errorf("node %d: %d round trips, %d WAITs (%v)", i, n, waits, p.Commands())
			}
		}
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
	}

	// A master whose replica is away grants nothing, the others do.
	ns := c.Namespace(t)
	strict := newLockerOn(t, rdb, lock.Config{Namespace: ns, Replicas: 1})
	alone := c.Masters()[0]
	c.ReplicaOf(alone).Stop()
	rs, err := strict.TryLock(ctx, lock.Claims("me", resources...)...)
	wantErr(t, err, lock.ErrNotReplicated)
	for _, r := range rs {
		key := keysOf(ns, int(xxhash.Sum64String(r.Resource)%64))[locksAt]
		if at := c.MasterOf(key); (r.Err != nil) != (at.Addr() == alone.Addr()) {
			t.Fatalf("%q at %s: %v; the replica of %s is away", r.Resource, at, r.Err, alone)
		}
	}
	must[lock.Results](t)(strict.Unlock(ctx, rs.Claims()...))
}

// TestReplicasAreAskedWhileASlotMoves: where the nodes say that it is.
func TestReplicasAreAskedWhileASlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns, ctx := c.Namespace(t), within(t, 2*time.Minute)
	proxies := c.Proxies(t)
	o := c.Options()
	o.Dialer = redistest.Dialer(proxies...)
	rdb := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Shards: 1, Replicas: 1})
	const ttl = 2 * time.Second
	leases := make([]*lock.Lease, 20)
	for i := range leases {
		leases[i] = must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: fmt.Sprint("r", i), TTL: ttl}))
	}
	key := keysOf(ns, 0)[locksAt]
	for round := range 2 {
		from := c.MasterOf(key).Client(t)
		m, err := c.BeginMigration(ctx, c.Slot(key), otherMaster(c, key))
		wantErr(t, err, nil)
		for moved := false; !moved; { // the locks, and perhaps others
			wantErr(t, m.Move(ctx, 1), nil)
			left := must[[]string](t)(from.ClusterGetKeysInSlot(ctx, c.Slot(key), 10).Result())
			moved = !slices.Contains(left, key)
		}
		claimed := make(chan error, 1)
		go func() {
			_, err := l.TryLock(ctx, lock.Claims("me", fmt.Sprint("claimed meanwhile", round))...)
			claimed <- err
		}()
		pass(ctx, 2*ttl)
		for i, lease := range leases {
			if wantErr(t, context.Cause(lease.Context()), nil); time.Until(lease.Deadline()) <= 0 {
				t.Errorf("round %d, lease %d is over", round, i)
			}
		}
		wantErr(t, m.Finish(ctx), nil)
		wantErr(t, receive(t, "the claim", claimed), nil)
	}
	scripts, waits := 0, 0
	for _, p := range proxies {
		scripts, waits = scripts+p.Commands()["evalsha"], waits+p.Commands()["wait"]
	}
	if waits == 0 {
		t.Errorf("%d scripts, %d WAITs", scripts, waits)
	}
	for _, lease := range leases {
		wantErr(t, lease.Release(ctx), nil)
	}
}

// TestGrantThatIsSentAgainIsReplicated: its reply is lost, and the second send, which
// writes nothing, must not take the replicas for ahead of the first. Since Redis 7.2
// WAIT needs a write of the connection's own for that.
func TestGrantThatIsSentAgainIsReplicated(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	ns, ctx := primary.Namespace(t), bounded(t)
	l, p := newProxied(t, primary, lock.Config{Namespace: ns, Replicas: 1})
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "held")...))
	for _, then := range []redistest.Then{redistest.ThenCut, redistest.ThenHang} {
		for _, named := range []string{"evalsha", "eval", "wait"} { // the script, the mark, and WAIT
			name := fmt.Sprint(named, int(then))
			loss := p.DropReplies(redistest.Named(named), 1, then)
			p.ResetCounters()
			r := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", name)...))[0]
			receive(t, "the loss of the reply to "+named, loss.Done())
			if n := p.Commands()["wait"]; n < 2 {
				t.Errorf("%s: sent again without WAIT (%v)", name, p.Commands())
			}
			if got := must[string](t)(replicas[0].Client(t).HGet(ctx, keysOf(ns, 0)[locksAt], name).Result()); !strings.Contains(got, fmt.Sprint(r.Fence)) {
				t.Errorf("%s: the replica has %q", name, got)
			}
		}
	}
	offset := func() string {
		role := must[[]any](t)(primary.Client(t).Do(ctx, "role").Slice())
		return fmt.Sprint(role[1])
	}
	before := offset()
	_, err := l.TryLock(ctx, lock.Claims("me", "held")...)
	if wantErr(t, err, lock.ErrHeld); offset() == before {
		t.Error("a call that found what another send wrote has written nothing itself")
	}
	if must[string](t)(primary.Client(t).HGet(ctx, keysOf(ns, 0)[0], "shards").Result()) != "1" {
		t.Error("the mark has changed something")
	}
}

// TestWaitingForReplicasHoldsUpNobodyElse: one caller waits for a silent replica,
// others who need none are answered.
func TestWaitingForReplicasHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	l, ctx := newLocker(t, primary, lock.Config{Replicas: 1}), bounded(t)
	held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("held", 100)...)...))
	replicas[0].Stop()
	for n := range held { // on a busy machine it may take more than one try
		done := make(chan error, 1)
		go func() {
			_, err := l.TryLock(ctx, lock.Claims("me", fmt.Sprint("slow", n))...)
			done <- err
		}()
		eventually(t, "a WAIT", func() bool {
			return len(done) > 0 || strings.Contains(must[string](t)(primary.Client(t).Info(ctx, "clients").Result()), "blocked_clients:1")
		})
		must[lock.Results](t)(l.Owners(ctx, "held0"))
		must[lock.Results](t)(l.Unlock(ctx, held[n:n+1].Claims()...))
		before := len(done) == 0
		wantErr(t, receive(t, "the grant", done), lock.ErrNotReplicated)
		if before {
			return
		}
	}
	t.Error("every time others had to wait, too")
}
