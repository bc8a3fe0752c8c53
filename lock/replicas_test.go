package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

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
				rdb := redis.NewClient(contexted(c.server, heeds))
				t.Cleanup(func() { _ = rdb.Close() })
				var calls sync.WaitGroup // beside each other, since each waits for half a second
				for _, call := range lasting("r ") {
					ns, ctx := c.server.Namespace(t), bounded(t)
					l := newLockerOn(t, rdb, lock.Config{Namespace: ns, Replicas: c.replicas})
					calls.Go(func() {
						err := call.call(ctx, l)
						if !errors.Is(err, lock.ErrNotReplicated) || !errors.Is(err, lock.ErrUnavailable) || !strings.Contains(err.Error(), fmt.Sprintf(" of %d replicas", c.replicas)) {
							t.Errorf("%s: %v", call.name, err)
						}
						held, err := rdb.HGetAll(ctx, keysOf(ns, 0)[locksAt]).Result()
						if err != nil || len(held) != 0 {
							t.Errorf("%s has left %v, %v", call.name, held, err)
						}
						if n, err := rdb.ZCard(ctx, keysOf(ns, 0)[queueAt]).Result(); err != nil || n != 0 {
							t.Errorf("%s has left %d waiters, %v", call.name, n, err)
						}
						jobs, err := l.Jobs().Get(ctx, lock.JobID{Key: "r claim"}, lock.JobID{Key: "r tryawait"}, lock.JobID{Key: "r some"}, lock.JobID{Key: "r await"})
						if err != nil {
							t.Errorf("%s: %v", call.name, err)
						}
						for _, job := range jobs {
							if job.Attempt != 0 || job.State == lock.JobRunning {
								t.Errorf("%s was counted: %+v", call.name, job)
							}
						}
					})
				}
				calls.Wait()
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
		var calls sync.WaitGroup
		for _, call := range lasting("r ") {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				began := time.Now()
				err := call.call(ctx, l)
				if took := time.Since(began); err == nil || took > patience+300*time.Millisecond {
					t.Errorf("%s returned %v after %v", call.name, err, took)
				}
			})
		}
		calls.Wait()
		replicas[0].Continue()
		eventually(t, "nothing but the first", func() bool {
			return must[int64](t)(rdb.HLen(bounded(t), keysOf(ns, 0)[locksAt]).Result()) == 1
		})
	}
}

// TestServerWithoutReplicasIsTold, and a number that is none.
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
