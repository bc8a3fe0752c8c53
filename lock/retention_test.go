package lock_test

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// remembered tells whether a record is still there; the calls of others make
// room, so there are some.
func remembered(d desk, id lock.JobID) bool {
	d.t.Helper()
	rs, err := d.l.Jobs().Claim(bounded(d.t), lock.JobClaim{ID: lock.JobID{Key: "passer-by"}, MaxAttempts: 1 << 40})
	wantErr(d.t, err, nil)
	d.settle(rs[0], lock.Settlement{End: lock.Returned})
	return len(d.get(id).Attempts) > 0
}

func TestRecordsAreForgottenAfterTheirRetention(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{Shards: 1})}
		const short = 300 * time.Millisecond
		claim := func(key string, retention time.Duration) lock.JobClaim {
			return lock.JobClaim{ID: lock.JobID{Key: key}, TTL: short, Retention: retention, MaxAttempts: 5}
		}
		for key, retention := range map[string]time.Duration{"short": short, "long": time.Hour, "ever": lock.NoExpiry} {
			c := claim(key, retention)
			d.settle(d.granted(c), lock.Settlement{End: lock.Done, Retention: retention})
		}
		delayed := claim("delayed", short)
		d.settle(d.granted(delayed), lock.Settlement{End: lock.Failed, Delay: time.Hour, Retention: short})

		eventually(t, "the short one is still remembered", func() bool {
			return !remembered(d, lock.JobID{Key: "short"})
		})
		for _, key := range []string{"long", "ever", "delayed"} {
			if !remembered(d, lock.JobID{Key: key}) {
				t.Errorf("%s is forgotten", key)
			}
		}
		if r := d.granted(claim("short", short)); r.Job.Attempt != 1 {
			t.Errorf("a forgotten run begins with %+v", r)
		}
	})
}

func TestARecordIsRememberedWhileItIsHeld(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{Shards: 1})}
		const ttl = 400 * time.Millisecond
		held := lock.JobClaim{ID: lock.JobID{Key: "held"}, TTL: ttl, Retention: time.Millisecond, MaxAttempts: 5}
		le, _, err := d.l.Jobs().Await(bounded(t), held)
		wantErr(t, err, nil)
		mark := lock.JobClaim{ID: lock.JobID{Key: "mark"}, TTL: ttl, Retention: 2 * ttl, MaxAttempts: 1}
		d.settle(d.granted(mark), lock.Settlement{End: lock.Done, Retention: 2 * ttl})
		eventually(t, "the mark is still remembered", func() bool { return !remembered(d, mark.ID) })
		if le.Context().Err() != nil {
			t.Skip("the machine was too busy to renew the lease")
		}
		if !remembered(d, held.ID) {
			t.Fatal("forgotten while held")
		}
		wantErr(t, le.Settle(bounded(t), lock.Settlement{End: lock.Done, Retention: time.Hour}), nil)
		if info := d.get(held.ID); info.State != lock.JobDone {
			t.Errorf("settled: %+v", info)
		}
	})
}
