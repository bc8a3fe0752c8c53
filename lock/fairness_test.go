package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// line is a lock with a holder, and waiters who note the order in which they
// were served; each releases at once.
type line struct {
	t      *testing.T
	s      *redistest.Server
	ns     string
	holder *lock.Lease
	served chan string
	in     int64
	all    sync.WaitGroup
	next   chan struct{} // not nil: each waiter who was served holds the lock until it is told to release it
}

func newLine(t *testing.T, s *redistest.Server, ttl time.Duration) *line {
	ln := &line{t: t, s: s, ns: s.Namespace(t), served: make(chan string, 100)}
	l := newLocker(t, s, lock.Config{Namespace: ln.ns})
	ln.holder = must[*lock.Lease](t)(l.Hold(bounded(t), lock.Claim{Resource: "r", TTL: ttl}))
	return ln
}

// join queues a waiter. It returns when it stands in the queue; one that waits
// behind another of its Locker has no entry of its own there.
func (ln *line) join(name string, l *lock.Locker, own bool) {
	ln.t.Helper()
	before := l.Stats().Waiters
	ln.all.Go(func() {
		lease, err := l.Hold(bounded(ln.t), lock.Claim{Resource: "r", TTL: time.Minute})
		if err == nil {
			ln.served <- name
			if ln.next != nil {
				<-ln.next
			}
			err = lease.Release(bounded(ln.t))
		}
		if err != nil {
			ln.t.Errorf("%s: %v", name, err)
		}
	})
	if own {
		ln.in++
	}
	eventually(ln.t, name+" to wait", func() bool { return l.Stats().Waiters > before })
	awaitQueue(ln.t, ln.s.Client(ln.t), ln.ns, ln.in)
}

func (ln *line) wantServed(want ...string) {
	ln.t.Helper()
	var got []string
	for range want {
		got = append(got, receive(ln.t, "a waiter's turn", ln.served))
	}
	ln.all.Wait()
	if !slices.Equal(got, want) {
		ln.t.Errorf("served %v, want %v", got, want)
	}
}

func TestWaitersAreServedInOrderOfArrival(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ln := newLine(t, s, time.Minute)
	want := names("waiter", 12)
	for _, name := range want {
		ln.join(name, newLocker(t, s, lock.Config{Namespace: ln.ns}), true)
	}
	wantErr(t, ln.holder.Release(bounded(t)), nil)
	ln.wantServed(want...)
}

// TestWaitersOfOneLockerAreServedOnePerTurn: they stand behind one entry, which
// goes to the tail when one of them was served.
func TestWaitersOfOneLockerAreServedOnePerTurn(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ln := newLine(t, s, time.Minute)
	ln.next = make(chan struct{})
	many, one := newLocker(t, s, lock.Config{Namespace: ln.ns}), newLocker(t, s, lock.Config{Namespace: ln.ns})
	ln.join("many 1", many, true)
	ln.join("one 1", one, true)
	ln.join("many 2", many, false)
	ln.join("many 3", many, false)
	ln.join("one 2", one, false)
	wantErr(t, ln.holder.Release(bounded(t)), nil)
	turns := []string{"many 1", "one 1", "many 2", "one 2", "many 3"}
	entries := []int64{2, 2, 2, 1, 0} // in the queue, when it was that one's turn
	for i, want := range turns {
		if got := receive(t, "a waiter's turn", ln.served); got != want {
			t.Errorf("turn %d was %s's, want %s", i, got, want)
		}
		awaitQueue(t, s.Client(t), ln.ns, entries[i])
		ln.next <- struct{}{}
	}
	ln.all.Wait()
}

// TestNewcomersCannotJumpTheQueue: the lock is offered to a waiter whose
// network hangs, so that it does not know yet.
func TestNewcomersCannotJumpTheQueue(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	for name, free := range map[string]func(context.Context, *line){
		"released": func(ctx context.Context, ln *line) { wantErr(ln.t, ln.holder.Release(ctx), nil) },
		"lapsed": func(ctx context.Context, ln *line) { // nobody has noticed yet, nor made an offer
			ln.holder.Lapse()
			receive(ln.t, "the end of the lease", ln.holder.Context().Done())
			pass(ctx, 100*time.Millisecond) // the deadline's margin
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				if newcomersComeSecond(t, s, free) {
					return
				}
			}
			t.Error("this machine is too slow: each offer lapsed")
		})
	}
}

// newcomersComeSecond returns false if the offer may have lapsed meanwhile.
func newcomersComeSecond(t *testing.T, s *redistest.Server, free func(context.Context, *line)) bool {
	ln := newLine(t, s, 2*time.Second)
	ctx := bounded(t)
	waiter, p := newProxied(t, s, lock.Config{Namespace: ln.ns})
	ln.join("waiter", waiter, true)
	newcomer := newLocker(t, s, lock.Config{Namespace: ln.ns})
	must[lock.Results](t)(newcomer.Owners(ctx, "r"))
	p.Stall(redistest.Both)
	free(ctx, ln)
	began := time.Now()
	claims := map[string]func() error{
		"TryLock":    func() error { _, err := newcomer.TryLock(ctx, lock.Claims("me", "r")...); return err },
		"TryLockAll": func() error { _, err := newcomer.TryLockAll(ctx, lock.Claims("me", "r", "s")...); return err },
		"TryHold":    func() error { _, err := newcomer.TryHold(ctx, lock.Claim{Resource: "r"}); return err },
		"Claim": func() error {
			_, err := newcomer.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: "r"}, TTL: lock.MinTTL, MaxAttempts: 1})
			return err
		},
	}
	refused := make(map[string]error)
	for name, claim := range claims {
		refused[name] = claim()
	}
	ln.join("newcomer", newcomer, true)
	inTime := time.Since(began) < probe-200*time.Millisecond
	p.Resume(redistest.Both)
	if !inTime {
		ln.all.Wait()
		return false
	}
	for name, err := range refused {
		if !errors.Is(err, lock.ErrHeld) {
			t.Errorf("%s jumped the queue: %v", name, err)
		}
	}
	ln.wantServed("waiter", "newcomer")
	return true
}

// TestDelayedFailureLetsAnotherRunGoFirst: the oldest waiter's run is too early,
// the next one's is not.
func TestDelayedFailureLetsAnotherRunGoFirst(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	rdb := s.Client(t)
	const delay = 1500 * time.Millisecond
	runA, runB := lock.JobID{Key: "job", Run: "A"}, lock.JobID{Key: "job", Run: "B"}
	holder, _, err := attempt(ctx, newLocker(t, s, lock.Config{Namespace: ns}), runA, time.Minute, 5)
	wantErr(t, err, nil)
	type turn struct {
		run string
		at  int64 // µs
	}
	turns := make(chan turn, 2)
	var all sync.WaitGroup
	for i, id := range []lock.JobID{runA, runB} {
		l := newLocker(t, s, lock.Config{Namespace: ns})
		all.Go(func() {
			lease, res, err := attempt(ctx, l, id, time.Minute, 5)
			if err == nil {
				turns <- turn{id.Run, grantedAt(res.Grant.Fence)}
				err = lease.Settle(ctx, lock.Settlement{End: lock.Done})
			}
			if err != nil {
				t.Errorf("run %s: %v", id.Run, err)
			}
		})
		awaitQueue(t, rdb, ns, int64(i+1))
	}
	failed := must[int64](t)(redisMicros(ctx, rdb))
	wantErr(t, holder.Settle(ctx, lock.Settlement{End: lock.Failed, Delay: delay}), nil)
	first, second := receive(t, "a turn", turns), receive(t, "a turn", turns)
	all.Wait()
	if first.run != "B" || second.run != "A" {
		t.Errorf("run %s went first", first.run)
	}
	if took := time.Duration(first.at-failed) * time.Microsecond; took > delay {
		t.Errorf("the other run had to wait for %v", took)
	}
	took := time.Duration(second.at-failed) * time.Microsecond
	if took < delay-time.Millisecond || took > delay+probe+noise {
		t.Errorf("the failed run went on after %v, want %v", took, delay)
	}
}

// TestDelayedFailureWakesTheNextWhenTheOldestLeaves: the timer to not-before is
// the oldest waiter's; if that one leaves, somebody else's.
func TestDelayedFailureWakesTheNextWhenTheOldestLeaves(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	ctx := bounded(t)
	rdb := s.Client(t)
	const delay = time.Second
	id := lock.JobID{Key: "job", Run: "A"}
	holder, _, err := attempt(ctx, newLocker(t, s, lock.Config{Namespace: ns}), id, time.Minute, 5)
	wantErr(t, err, nil)
	leave, cancel := context.WithCancel(ctx)
	granted := make(chan string, 2)
	for i, c := range []context.Context{leave, ctx} {
		l := newLocker(t, s, lock.Config{Namespace: ns})
		go func() {
			if _, _, err := attempt(c, l, id, time.Minute, 5); err == nil {
				granted <- fmt.Sprint("waiter ", i)
			}
		}()
		awaitQueue(t, rdb, ns, int64(i+1))
	}
	began := time.Now()
	wantErr(t, holder.Settle(ctx, lock.Settlement{End: lock.Failed, Delay: delay}), nil)
	cancel()
	if who := receive(t, "a grant", granted); who != "waiter 1" {
		t.Errorf("%s was granted", who)
	}
	if took := time.Since(began); took < delay-5*time.Millisecond || took > delay+probe+noise {
		t.Errorf("granted after %v", took)
	}
}
