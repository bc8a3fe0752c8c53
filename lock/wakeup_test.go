package lock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// deaf makes Lockers whose every message is lost.
func deaf(t testing.TB, s *redistest.Server, n int) (lockers []*lock.Locker, ns string, p *redistest.Proxy) {
	t.Helper()
	ns = s.Namespace(t)
	p = redistest.NewProxy(t, s.Addr())
	p.DropMessages(nil)
	for range n {
		lockers = append(lockers, newLockerOn(t, through(t, s, p), lock.Config{Namespace: ns}))
	}
	return lockers, ns, p
}

// handOver is G6's bound of one hand-over whose message is lost, among n waiters.
func handOver(n int) time.Duration {
	return probe + time.Duration(n)*rank + noise
}

// TestG7EveryWaiterFinishesWithoutMessages: holders release, and nobody is told.
func TestG7EveryWaiterFinishesWithoutMessages(t *testing.T) {
	t.Parallel()
	const waiters = 20
	for _, ttl := range []time.Duration{time.Minute, lock.NoExpiry} {
		t.Run(fmt.Sprint("lease ", ttl), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			lockers, ns, p := deaf(t, s, waiters+1)
			ctx := within(t, 2*time.Minute)
			lease := must[*lock.Lease](t)(lockers[waiters].Hold(ctx, lock.Claim{Resource: "r", TTL: ttl}))
			granted := make(chan int64)
			for _, l := range lockers[:waiters] {
				go func() {
					le, err := l.Hold(ctx, lock.Claim{Resource: "r", TTL: ttl})
					if err == nil {
						err = le.Release(ctx)
					}
					if err != nil {
						t.Errorf("a waiter: %v", err)
						le = lease
					}
					granted <- le.Fence()
				}()
			}
			awaitQueue(t, s.Client(t), ns, waiters)
			last := time.Now()
			wantErr(t, lease.Release(ctx), nil)
			var longest time.Duration
			for left := waiters; left > 0; left-- {
				<-granted
				longest = max(longest, time.Since(last))
				last = time.Now()
			}
			t.Logf("longest hand-over %v", longest)
			if longest > handOver(waiters) {
				t.Errorf("a hand-over took %v: want %v at the most", longest, handOver(waiters))
			}
			if p.DroppedMessages() == 0 {
				t.Error("no message was dropped: this shows nothing")
			}
		})
	}
}

// TestG7EveryWaiterLearnsTheOutcomeWithoutMessages: attempts fail and are
// handed over, and the last one ends it for all.
func TestG7EveryWaiterLearnsTheOutcomeWithoutMessages(t *testing.T) {
	t.Parallel()
	const waiters = 20
	for last, want := range map[lock.End]error{lock.Done: lock.ErrJobDone, lock.Failed: lock.ErrJobExhausted, lock.Exhausted: lock.ErrJobExhausted} {
		t.Run(last.String(), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			lockers, ns, _ := deaf(t, s, waiters)
			ctx := within(t, 2*time.Minute)
			id := lock.JobID{Key: "job", Run: "run"}
			const most = 3
			ends := make(chan time.Time, 1) // when the last attempt ended
			results := make(chan error, waiters)
			for _, l := range lockers {
				go func() { results <- workUntilTold(ctx, l, id, most, last, ends) }()
			}
			_ = ns
			ended := receive(t, "the end", ends)
			for range waiters {
				if err := receive(t, "a waiter's answer", results); err != nil {
					wantErr(t, err, want)
				}
			}
			if took := time.Since(ended); took > handOver(waiters) {
				t.Errorf("the last waiter learned it after %v: want %v at the most", took, handOver(waiters))
			}
		})
	}
}

// workUntilTold takes attempts at a run, failing all but the last, until it is
// told the outcome.
func workUntilTold(ctx context.Context, l *lock.Locker, id lock.JobID, most int, last lock.End, ends chan<- time.Time) error {
	for {
		lease, res, err := attempt(ctx, l, id, time.Minute, most)
		if err != nil {
			return err
		}
		end := lock.Failed
		if res.Job.Attempt == most {
			end = last
		}
		if err := lease.Settle(ctx, lock.Settlement{End: end}); err != nil {
			return err
		}
		if res.Job.Attempt == most {
			ends <- time.Now()
			return nil
		}
	}
}

// TestEveryEndWakesItsWaiters: every end of an attempt sends a message to who waits for its run; nobody has to wait for a timer.
func TestEveryEndWakesItsWaiters(t *testing.T) {
	t.Parallel()
	ends := map[string]struct {
		max int
		s   lock.Settlement
	}{
		"done":             {3, lock.Settlement{End: lock.Done}},
		"failed":           {3, lock.Settlement{End: lock.Failed}},
		"failed, delayed":  {3, lock.Settlement{End: lock.Failed, Delay: time.Minute}},
		"the last attempt": {1, lock.Settlement{End: lock.Failed}},
		"for good":         {3, lock.Settlement{End: lock.Exhausted}},
		"given back":       {3, lock.Settlement{End: lock.Returned}},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns, rdb, ctx := s.Namespace(t), s.Client(t), bounded(t)
			id := lock.JobID{Key: "job", Run: "run"}
			holder, waiter := newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns})
			held, _, err := attempt(ctx, holder, id, time.Minute, tt.max)
			wantErr(t, err, nil)
			sub := rdb.PSubscribe(ctx, ns+":wake:*")
			defer sub.Close()
			_, err = sub.Receive(ctx)
			wantErr(t, err, nil)
			go func() { _, _, _ = attempt(ctx, waiter, id, time.Minute, tt.max) }()
			awaitQueue(t, rdb, ns, 1)
			wantErr(t, held.Settle(ctx, tt.s), nil)
			if m := receive(t, "a message", sub.Channel()); m.Payload != "0003jobj0003run" {
				t.Errorf("%q was woken", m.Payload)
			}
		})
	}
}
