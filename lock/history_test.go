package lock_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lockingworker/lockingworker/lock"
)

func TestTheNewestHundredAttemptsAreRemembered(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 1000}
		const n = 130
		var first int64
		for i := range n {
			r := d.granted(c)
			if i == n-100 {
				first = r.Grant.Fence
			}
			d.settle(r, lock.Settlement{End: lock.Failed, Cause: fmt.Sprint(i + 1)})
		}
		info := d.get(c.ID)
		if info.Attempt != n || len(info.Attempts) != 100 || info.Attempts[0].Fence != first {
			t.Fatalf("attempt %d, %d remembered", info.Attempt, len(info.Attempts))
		}
		for i, a := range info.Attempts {
			if a.Number != n-100+i+1 || a.Cause != fmt.Sprint(a.Number) || a.End != "failed" {
				t.Errorf("history %d: %+v", i, a)
			}
		}
	})
}

func TestCausesAreCutBetweenCharacters(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 1000}
		for cause, want := range map[string]int{
			"":                                           0,
			strings.Repeat("x", 512):                     512,
			strings.Repeat("x", 600):                     512,
			strings.Repeat("é", 300):                     512,
			"x" + strings.Repeat("é", 300):               511,
			strings.Repeat("€", 300):                     510,
			strings.Repeat("😀", 300):                     512,
			"xx" + strings.Repeat("😀", 300):              510,
			"1 2 3 4:5\x00\n" + strings.Repeat("y", 600): 512,
		} {
			d.settle(d.granted(c), lock.Settlement{End: lock.Failed, Cause: cause})
			got := d.get(c.ID).Cause
			if len(got) != want || !strings.HasPrefix(cause, got) || !utf8.ValidString(got) {
				t.Errorf("cause of %d bytes: %d remembered, want %d", len(cause), len(got), want)
			}
		}
		// What is no text is cut all the same.
		d.settle(d.granted(c), lock.Settlement{End: lock.Failed, Cause: strings.Repeat("\xbf", 600)})
		if got := d.get(c.ID).Cause; len(got) > 512 || len(got) < 508 {
			t.Errorf("%d bytes remembered", len(got))
		}
	})
}

func TestALapsedAttemptCounts(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, TTL: 30 * time.Millisecond, MaxAttempts: 2, Retention: time.Hour}
		var rs []lock.JobResult
		for range 2 {
			rs = append(rs, d.granted(c))
			eventually(t, "no expiry", func() bool { return d.get(c.ID).State == lock.JobFailed })
			if a := d.get(c.ID).Attempts[0]; a.End != "lapsed" || a.Ended.IsZero() {
				t.Errorf("lapsed attempt: %+v", a)
			}
		}
		for _, r := range rs {
			_, err := d.l.Jobs().Settle(bounded(t), lock.Settlement{Grant: r.Grant, ID: c.ID, End: lock.Done})
			wantErr(t, err, lock.ErrLeaseLost)
		}
		r, err := d.claim(c)
		wantErr(t, err, lock.ErrJobExhausted)
		if r.Job.Attempt != 2 {
			t.Errorf("refused: %+v", r)
		}
	})
}

func TestAForcedLockLosesTheAttempt(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, Owner: "worker", MaxAttempts: 5}
		r := d.granted(c)
		must[lock.Results](t)(d.l.ForceLock(ctx, lock.Claims("admin", "j")...))
		_, err := d.l.Jobs().Settle(ctx, lock.Settlement{Grant: r.Grant, ID: c.ID, End: lock.Done})
		wantErr(t, err, lock.ErrLeaseLost)
		if info := d.get(c.ID); info.State != lock.JobFailed || info.Attempt != 1 || info.Attempts[0].End != "lapsed" {
			t.Errorf("ousted: %+v", info)
		}
		must[lock.Results](t)(d.l.Unlock(ctx, lock.Claims("admin", "j")...))
		if next := d.granted(c); next.Job.Attempt != 2 {
			t.Errorf("next: %+v", next)
		}
	})
}
