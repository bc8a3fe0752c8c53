package lock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// jobClaims are claims of n jobs.
func jobClaims(n int) []lock.JobClaim {
	cs := make([]lock.JobClaim, n)
	for i, name := range names("job", n) {
		cs[i] = lock.JobClaim{ID: lock.JobID{Key: name, Run: "1"}, MaxAttempts: 3, Retention: time.Hour}
	}
	return cs
}

func TestCollectionOfJobsIsKeptAndSettled(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		const n = 120
		mine, other := w.locker(t, lock.Config{TTL: time.Second}), w.locker(t, lock.Config{})
		claims := jobClaims(n)
		if _, err := other.Jobs().Claim(bounded(t), claims[7]); err != nil {
			t.Fatal(err)
		}
		leases, rs, err := mine.Jobs().TryAwaitAll(bounded(t), claims...)
		if !errors.Is(err, lock.ErrHeld) || len(leases) != n || len(rs) != n {
			t.Fatalf("%d leases, %d results, %v", len(leases), len(rs), err)
		}
		var settlements []lock.Settlement
		for i, le := range leases {
			switch {
			case (le == nil) != (i == 7) || (rs[i].Grant.Err == nil) != (le != nil):
				t.Fatalf("lease %d: %v, %v", i, le, rs[i].Grant.Err)
			case le != nil && (le.Grant() != rs[i].Grant || le.Job().ID != claims[i].ID):
				t.Errorf("lease %d: %+v, %+v", i, le.Grant(), le.Job())
			case le != nil:
				settlements = append(settlements, lock.Settlement{Lease: le, End: lock.Done, Retention: time.Hour})
			}
		}
		first := leases[0].Deadline()
		eventually(t, "renewal", func() bool { return leases[0].Deadline().After(first) })
		if _, err := mine.Jobs().Settle(bounded(t), settlements...); err != nil {
			t.Error(err)
		}
		for i, le := range leases {
			if le != nil && !errors.Is(context.Cause(le.Context()), lock.ErrReleased) {
				t.Errorf("lease %d ended with %v", i, context.Cause(le.Context()))
			}
			if le != nil && settlements[0].Grant.Fence != 0 {
				t.Error("the caller's settlements were written to")
			}
		}
		_, rs, err = other.Jobs().TryAwaitAll(bounded(t), claims...)
		wantErr(t, err, lock.ErrJobDone)
		for i, r := range rs {
			want := lock.ErrJobDone
			if i == 7 {
				want = lock.ErrHeld // by itself
			}
			if !errors.Is(r.Grant.Err, want) || i != 7 && (r.Job.State != lock.JobDone || r.Job.Attempt != 1 || r.Job.Fence != leases[i].Grant().Fence) {
				t.Errorf("job %d: %+v", i, r)
			}
		}
	})
}

func TestSettlingWhatWasLostEndsItsLease(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		mine := w.locker(t, lock.Config{TTL: time.Minute})
		claims := jobClaims(2)
		leases, _, err := mine.Jobs().TryAwaitAll(bounded(t), claims...)
		wantErr(t, err, nil)
		if _, err := mine.ForceUnlock(bounded(t), claims[0].ID.Key); err != nil {
			t.Fatal(err)
		}
		rs, err := mine.Jobs().Settle(bounded(t), lock.Settlement{Lease: leases[0], End: lock.Done}, lock.Settlement{Lease: leases[1], End: lock.Done})
		wantErr(t, err, lock.ErrLeaseLost)
		for i, want := range []error{lock.ErrLeaseLost, lock.ErrReleased} {
			if cause := context.Cause(leases[i].Context()); !errors.Is(cause, want) {
				t.Errorf("lease %d ended with %v, want %v", i, cause, want)
			}
		}
		if rs[0].Err == nil || rs[1].Err != nil {
			t.Errorf("%+v", rs)
		}
	})
}

// Jobs that are done are answered in a short way, which a Locker with Publish never takes: both answer the same, and
// leave the same behind.
func TestDoneJobsAreAnsweredAlike(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	const lease = 500 * time.Millisecond
	answers := func(publish, waiting bool) []string {
		cfg := lock.Config{Namespace: s.Namespace(t), Publish: publish, TTL: time.Minute}
		l := newLocker(t, s, cfg)
		rdb := s.Client(t)
		d := desk{t, l}
		claims := jobClaims(8)
		for i, end := range []lock.End{lock.Done, lock.Done, lock.Failed, lock.Exhausted, lock.Returned, lock.Done} {
			c := claims[i]
			if i == 5 { // as good as forgotten, when it is claimed again
				c.Retention, c.TTL = time.Millisecond, lease
			}
			d.settle(d.granted(c), lock.Settlement{End: end, Retention: c.Retention})
		}
		d.granted(claims[6])
		if waiting {
			ctx, leave := context.WithCancel(bounded(t))
			t.Cleanup(leave)
			go func() { _, _, _ = l.Jobs().Await(ctx, claims[6]) }()
			awaitQueue(t, rdb, cfg.Namespace, 1)
		}
		pass(t.Context(), 2*lease+10*time.Millisecond)
		var lines []string
		look := func(claims ...lock.JobClaim) {
			rs, err := l.Jobs().Claim(bounded(t), claims...)
			if err == nil {
				t.Error("all were granted")
			}
			for _, r := range rs {
				lines = append(lines, fmt.Sprintf("%q: %v, by somebody %v, %v, attempt %d of %d, %d remembered, %v", r.Job.ID.Key, r.Grant.Err,
					r.Grant.Owner != "", r.Job.State, r.Job.Attempt, r.Job.Max, len(r.Job.Attempts), r.Job.Cause))
			}
			lines = append(lines, shardText(t, rdb, cfg.Namespace))
		}
		look(claims[:2]...)
		look(claims[0], claims[5]) // the forgotten one is granted
		look(claims[:5]...)
		look(claims...)
		return lines
	}
	for _, waiting := range []bool{false, true} {
		short, full := answers(false, waiting), answers(true, waiting)
		for i := range full {
			if short[i] != full[i] {
				t.Errorf("the short way:\n%s\nthe long one:\n%s", short[i], full[i])
			}
		}
	}
}
