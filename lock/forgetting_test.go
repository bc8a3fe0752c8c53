package lock_test

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// Nobody else is active in the shard, so nobody else clears it: the run is
// forgotten all the same, and tomorrow's start does the work again.
func TestARunIsForgottenThoughNobodyElseIsThere(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		for _, end := range []lock.End{lock.Done, lock.Failed, lock.Exhausted} {
			t.Run(end.String(), func(t *testing.T) {
				d := desk{t, w.locker(t, lock.Config{})}
				const short = 50 * time.Millisecond
				c := lock.JobClaim{ID: lock.JobID{Key: "alone-" + end.String()}, TTL: short, Retention: short, MaxAttempts: 1}
				d.settle(d.granted(c), lock.Settlement{End: end, Retention: short})
				var last lock.JobResult
				eventually(t, "the run is still remembered", func() bool {
					rs, err := d.l.Jobs().Claim(bounded(t), c)
					if err == nil {
						last = rs[0]
					}
					return err == nil
				})
				if last.Job.Attempt != 1 || len(last.Job.Attempts) != 1 {
					t.Errorf("it begins again with %+v", last.Job)
				}
			})
		}
	})
}

// The same for one whose worker has died: its attempts are counted anew.
func TestAnAttemptIsForgottenWhoseWorkerDied(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		const short = 50 * time.Millisecond
		c := lock.JobClaim{ID: lock.JobID{Key: "died"}, TTL: short, Retention: 4 * short, MaxAttempts: 1}
		d.granted(c) // and never settled
		var last lock.JobResult
		eventually(t, "the run is still remembered", func() bool {
			later := c
			later.MaxAttempts = 2 // so that asking too early exhausts nothing
			infos := must[[]lock.JobInfo](t)(d.l.Jobs().Get(bounded(t), c.ID))
			if len(infos[0].Attempts) == 1 && time.Since(infos[0].Attempts[0].Granted) < 10*short {
				return false
			}
			rs, err := d.l.Jobs().Claim(bounded(t), later)
			if err == nil {
				last = rs[0]
			}
			return err == nil
		})
		if last.Job.Attempt != 1 {
			t.Errorf("it goes on with %+v", last.Job)
		}
	})
}

func TestAForgottenRunIsAbsent(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		const short = 50 * time.Millisecond
		c := lock.JobClaim{ID: lock.JobID{Key: "absent"}, TTL: short, Retention: short, MaxAttempts: 1}
		d.settle(d.granted(c), lock.Settlement{End: lock.Done, Retention: short})
		eventually(t, "the run is still there", func() bool { return d.get(c.ID).State == lock.JobAbsent })
		for info, err := range d.l.Jobs().List(bounded(t), lock.JobQuery{}) {
			t.Errorf("listed %+v, %v", info, err)
		}
	})
}
