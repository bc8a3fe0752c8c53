package lock_test

import (
	"context"
	"errors"
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

// lasting are the calls whose writes replicas must acknowledge, for a Locker that
// holds nothing yet.
func lasting(resource string) []caller {
	return append(claimers(resource), caller{"TryLock of a collection", func(ctx context.Context, l *lock.Locker) error {
		_, err := l.TryLock(ctx, lock.Claims("me", names(resource, 100)...)...)
		return err
	}})
}

// contexted is a client's options with ContextTimeoutEnabled, for which calls are
// made another way.
func contexted(s *redistest.Server, heeds bool) *redis.Options {
	o := s.Options()
	o.ContextTimeoutEnabled = heeds
	return o
}

// TestGrantsAreAtTheReplicasWhenTheyAreTold: each is there when its call returns.
func TestGrantsAreAtTheReplicasWhenTheyAreTold(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 2)
	for _, heeds := range []bool{false, true} {
		t.Run(fmt.Sprint("contexts heeded: ", heeds), func(t *testing.T) {
			ctx := bounded(t)
			ns := primary.Namespace(t)
			rdb := redis.NewClient(contexted(primary, heeds))
			t.Cleanup(func() { _ = rdb.Close() })
			l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Replicas: 2})
			var clients []*redis.Client
			for _, s := range append([]*redistest.Server{primary}, replicas...) {
				clients = append(clients, s.Client(t))
			}
			for n := range 10 {
				for _, c := range lasting(fmt.Sprint("r", n, " ")) {
					wantErr(t, c.call(ctx, l), nil)
					var at []map[string]string // in the order of the clients
					for _, rdb := range clients {
						at = append(at, must[map[string]string](t)(rdb.HGetAll(ctx, keysOf(ns, 0)[locksAt]).Result()))
					}
					for name, entry := range at[0] {
						fence := entry[15:34] // the expiry is another after a renewal
						if !strings.Contains(at[1][name], fence) || !strings.Contains(at[2][name], fence) {
							t.Fatalf("after %s the replicas have %q as\n%s\n%s, the primary\n%s", c.name, name, at[1][name], at[2][name], entry)
						}
					}
				}
			}
		})
	}
}

// TestGrantThatIsNotReplicatedIsGivenBack: too few replicas acknowledge. The error
// says so, and nothing is left.
func TestGrantThatIsNotReplicatedIsGivenBack(t *testing.T) {
	t.Parallel()
	one, _ := redistest.StartReplicated(t, 1)
	stopped, silent := redistest.StartReplicated(t, 1)
	silent[0].Stop()
	for name, c := range map[string]struct {
		server   *redistest.Server
		replicas int
	}{"no replica": {redistest.Start(t, redistest.Real), 1}, "one of two": {one, 2}, "a silent one": {stopped, 1}} {
		for _, heeds := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, contexts heeded: %t", name, heeds), func(t *testing.T) {
				t.Parallel()
				ns := c.server.Namespace(t)
				rdb := redis.NewClient(contexted(c.server, heeds))
				t.Cleanup(func() { _ = rdb.Close() })
				l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Replicas: c.replicas})
				for _, call := range lasting("r ") {
					ctx := bounded(t)
					err := call.call(ctx, l)
					if !errors.Is(err, lock.ErrNotReplicated) || !errors.Is(err, lock.ErrUnavailable) || !strings.Contains(err.Error(), fmt.Sprintf(" of %d replicas", c.replicas)) {
						t.Fatalf("%s: %v", call.name, err)
					}
					if held := must[map[string]string](t)(rdb.HGetAll(ctx, keysOf(ns, 0)[locksAt]).Result()); len(held) != 0 {
						t.Errorf("%s has left %v", call.name, held)
					}
					if n := queued(t, rdb, ns); n != 0 {
						t.Errorf("%s has left %d waiters", call.name, n)
					}
				}
				d := desk{t, l}
				for _, key := range []string{"claim", "tryawait", "await"} {
					if info := d.get(lock.JobID{Key: "r " + key}); info.Attempt != 0 || info.State == lock.JobRunning {
						t.Errorf("%s was counted: %+v", key, info)
					}
				}
			})
		}
	}
}

// TestRefusalsNeedNoReplicas: who holds it is told, and what the other resources of
// the call came to.
func TestRefusalsNeedNoReplicas(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns, ctx := s.Namespace(t), bounded(t)
	plain, strict := newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns, Replicas: 1})
	held := must[lock.Results](t)(plain.TryLock(ctx, lock.Claims("you", "held")...))[0]
	rs, err := strict.TryLock(ctx, lock.Claims("me", "free", "held")...)
	wantErr(t, err, lock.ErrNotReplicated)
	wantErr(t, rs[0].Err, lock.ErrNotReplicated)
	wantErr(t, rs[1].Err, lock.ErrHeld)
	if rs[0].Fence != 0 || rs[0].Owner != "" || rs[1].Fence != held.Fence || rs[1].Owner != "you" {
		t.Errorf("got %+v", rs)
	}
	d, id := desk{t, plain}, lock.JobID{Key: "job", Run: "run"}
	d.settle(d.granted(lock.JobClaim{ID: id, Owner: "you", MaxAttempts: 1, Retention: time.Hour}), lock.Settlement{End: lock.Done, Retention: time.Hour})
	_, r, err := strict.Jobs().TryAwait(ctx, lock.JobClaim{ID: id, MaxAttempts: 1})
	if wantErr(t, err, lock.ErrJobDone); r.Job.State != lock.JobDone {
		t.Errorf("got %+v", r)
	}
	// What needs no acknowledgement is done all the same.
	if rs, err := strict.Owners(ctx, "held", "free"); err != nil || rs[0].Fence != held.Fence || rs[1].Owner != "" {
		t.Errorf("owners are %+v, %v", rs, err)
	}
	_, err = strict.Unlock(ctx, lock.Claim{Resource: "held", Owner: "you", Fence: held.Fence})
	wantErr(t, err, nil)
}

// TestReplicaThatComesBackIsEnough: grants fail while it is away, and only then.
func TestReplicaThatComesBackIsEnough(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	l := newLocker(t, primary, lock.Config{Replicas: 1})
	ctx := bounded(t)
	lock1 := func(name string) error {
		_, err := l.TryLock(ctx, lock.Claims("me", name)...)
		return err
	}
	wantErr(t, lock1("before"), nil)
	replicas[0].Kill()
	wantErr(t, lock1("meanwhile"), lock.ErrNotReplicated)
	replicas[0].Restart()
	redistest.AwaitReplicas(t, primary, 1)
	wantErr(t, lock1("after"), nil)
	wantErr(t, lock1("meanwhile"), nil)
}

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
	const ttl = time.Second
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
		pass(ctx, 3*ttl)
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

// TestG10WaitingForReplicasEndsWithTheContext, and leaves nothing behind.
func TestG10WaitingForReplicasEndsWithTheContext(t *testing.T) {
	t.Parallel()
	primary, replicas := redistest.StartReplicated(t, 1)
	for _, heeds := range []bool{false, true} {
		ns := primary.Namespace(t)
		rdb := redis.NewClient(contexted(primary, heeds))
		t.Cleanup(func() { _ = rdb.Close() })
		l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Replicas: 1})
		must[lock.Results](t)(l.TryLock(bounded(t), lock.Claims("me", "first")...))
		replicas[0].Stop()
		for _, call := range lasting("r ") {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			began := time.Now()
			err := call.call(ctx, l)
			if took := time.Since(began); err == nil || took > patience+300*time.Millisecond {
				t.Errorf("%s returned %v after %v", call.name, err, took)
			}
			cancel()
		}
		replicas[0].Continue()
		eventually(t, "nothing but the first", func() bool {
			return must[int64](t)(rdb.HLen(bounded(t), keysOf(ns, 0)[locksAt]).Result()) == 1
		})
	}
}

// TestServerWithoutWaitIsTold: a denial, and the embedded server, which has no replicas.
func TestServerWithoutReplicasIsTold(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	_, err := newLocker(t, s, lock.Config{Replicas: 3}).TryLock(bounded(t), lock.Claims("me", "r")...)
	if wantErr(t, err, lock.ErrNotReplicated); !strings.Contains(err.Error(), "0 of 3 replicas") {
		t.Errorf("it is told as %v", err)
	}
	for _, cfg := range []lock.Config{{Replicas: -1}, {Replicas: -1, Shards: -1}} {
		_, err := lock.New(s.Client(t), cfg)
		if wantErr(t, err, lock.ErrInvalid); !strings.Contains(err.Error(), "Config.Replicas -1: want 0 or more") {
			t.Errorf("it is told as %v", err)
		}
	}
}

// TestRightToWaitIsNeededForReplicasOnly.
func TestRightToWaitIsNeededForReplicasOnly(t *testing.T) {
	t.Parallel()
	s, _ := redistest.StartReplicated(t, 1, redistest.User(account("app", lock.ACLOf("app", false))), redistest.User(account("more", lock.ACLOf("app", false)+" +wait")))
	strict := lock.Config{Namespace: "app", Replicas: 1}
	ctx := bounded(t)
	must[lock.Results](t)(newLockerOn(t, as(t, s, "app"), lock.Config{Namespace: "app"}).TryLock(ctx, lock.Claims("me", "without")...))
	_, err := newLockerOn(t, as(t, s, "app"), strict).TryLock(ctx, lock.Claims("me", "denied")...)
	wantErr(t, err, lock.ErrNotReplicated)
	if errors.Is(err, lock.ErrUnavailable) || !strings.Contains(err.Error(), "'wait' command") {
		t.Errorf("it is told as %v", err)
	}
	if must[bool](t)(s.Client(t).HExists(ctx, keysOf("app", 0)[locksAt], "denied").Result()) {
		t.Error("it is held all the same")
	}
	must[lock.Results](t)(newLockerOn(t, as(t, s, "more"), strict).TryLock(ctx, lock.Claims("me", "allowed")...))

	wantNoFinding(t, checked(t, as(t, s, "app"), lock.Config{Namespace: "app"}), "right-missing")
	wantNoFinding(t, checked(t, as(t, s, "more"), strict), "right-missing")
	r := checked(t, as(t, s, "app"), strict)
	wantFinding(t, r, lock.SeverityProblem, "right-missing", "WAIT")
	if f := finding(t, r, "right-missing"); !strings.HasSuffix(f.Do, " +wait") {
		t.Errorf("what to do: %s", f)
	}
}

func TestCheckCountsReplicas(t *testing.T) {
	t.Parallel()
	primary, _ := redistest.StartReplicated(t, 1)
	for wanted := range 2 {
		wantNoFinding(t, checked(t, primary.Client(t), lock.Config{Replicas: wanted}), "replicas-missing")
	}
	wantFinding(t, checked(t, primary.Client(t), lock.Config{Replicas: 2}), lock.SeverityProblem, "replicas-missing", "1 of 2")
}
