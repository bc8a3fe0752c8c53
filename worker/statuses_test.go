package worker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// Every message of the table in docs/seed-behaviour.md, in the situations that it is for.
func TestStatusMessages(t *testing.T) {
	const (
		checking1    = "Checking status of work from attempt #1"
		checking2    = "Checking status of work from attempt #2"
		notDone1     = "Work was not completed, trying to reacquire lock for attempt #1"
		notDone2     = "Work was not completed, trying to reacquire lock for attempt #2"
		reacquiring  = "Trying to reacquire lock"
		count0       = "Current attempt count: 0"
		count1       = "Current attempt count: 1"
		count2       = "Current attempt count: 2"
		attempt1     = "This is attempt #1"
		attempt2     = "This is attempt #2"
		attempt3     = "This is attempt #3"
		overtaken1by = "Attempt count has been incremented (expected 1, but it's 2), someone else got the lock"
		raced        = "Lock value has changed while we were checking it, someone else got the lock"
		elsewhere    = "Work completed successfully by primary process"
		gone         = "Lock key is gone, someone else completed the work and deleted the lock"
		givingUp     = "Exceeded maximum attempts, giving up!"
	)
	running := func(owner string, n int) *lock.JobResult { return one(held(owner, record(lock.JobRunning, owner, n))) }
	offered := func(n int) *lock.JobResult { return one(held("", record(lock.JobFailed, "other", n))) }
	early := func(owner string, n int) *lock.JobResult { return one(tooEarly(record(lock.JobFailed, owner, n))) }
	afresh := func(n int) lock.JobInfo { // a record that knows nothing of the one before
		job := record(lock.JobRunning, "me", n)
		job.Fence += 1000
		for i := range job.Attempts {
			job.Attempts[i].Fence += 1000
		}
		return job
	}
	returned := record(lock.JobRunning, "me", 1) // #1 again: the one before was given back
	returned.Attempts = append(returned.Attempts, lock.AttemptInfo{Number: 1, Fence: 1002})
	returned.Fence = 1002

	twice := record(lock.JobFailed, "other", 2) // #2 was given back twice, the second time by somebody else
	twice.Attempt, twice.Fence = 1, 1003
	twice.Attempts = append(twice.Attempts, lock.AttemptInfo{Number: 2, Fence: 1003})
	third := twice
	third.State, third.Attempt, third.Fence = lock.JobRunning, 2, 1004

	tests := []struct {
		name   string
		script []step
		want   []string
	}{
		{"granted at once",
			[]step{grants(attempt(1))},
			[]string{count0, attempt1}},
		{"the holder fails, and this waiter is next",
			[]step{waits(grants(attempt(2)), running("other", 1))},
			[]string{checking1, reacquiring, notDone1, count1, attempt2}},
		{"the holder works on",
			[]step{waits(grants(attempt(2)), running("other", 1), running("other", 1))},
			[]string{checking1, reacquiring, checking1, reacquiring, notDone1, count1, attempt2}},
		{"the holder fails with a delay",
			[]step{waits(grants(attempt(2)), running("other", 1), early("other", 1))},
			[]string{checking1, reacquiring, notDone1, checking1, reacquiring, count1, attempt2}},
		{"the holder gives back",
			[]step{waits(grants(newLease(returned)), running("other", 1))},
			[]string{checking1, reacquiring, count0, attempt1}},
		{"the holder gives back, and its successor too",
			[]step{waits(grants(newLease(third)), running("other", 2), one(tooEarly(twice)))},
			[]string{checking2, reacquiring, notDone1, checking1, reacquiring, count1, attempt2}},
		{"a delay that lasts",
			[]step{waits(grants(attempt(2)), running("other", 1), early("other", 1), early("other", 1))},
			[]string{checking1, reacquiring, notDone1, checking1, reacquiring, checking1, reacquiring, count1, attempt2}},
		{"an offer that lasts",
			[]step{waits(grants(attempt(2)), running("other", 1), offered(1), offered(1))},
			[]string{checking1, reacquiring, notDone1, raced, checking1, reacquiring, checking1, reacquiring, count1, attempt2}},
		{"another was granted meanwhile",
			[]step{waits(grants(attempt(3)), running("other", 1), running("third", 2))},
			[]string{checking1, reacquiring, overtaken1by, checking2, reacquiring, notDone2, count2, attempt3}},
		{"the lock is offered to another, who takes it",
			[]step{waits(grants(attempt(3)), running("other", 1), offered(1), running("third", 2))},
			[]string{checking1, reacquiring, notDone1, raced, checking1, reacquiring, checking2, reacquiring, notDone2, count2, attempt3}},
		{"another takes the very next attempt",
			[]step{waits(grants(attempt(3)), running("other", 1), early("other", 1), running("third", 2))},
			[]string{checking1, reacquiring, notDone1, checking1, reacquiring, raced, checking2, reacquiring, notDone2, count2, attempt3}},
		{"our own attempt fails",
			[]step{grants(attempt(1)), grants(attempt(2))},
			[]string{count0, attempt1, notDone1, reacquiring, count1, attempt2}},
		{"our own attempt fails, and one who waited is first",
			[]step{grants(attempt(1)), waits(grants(attempt(3)), running("other", 2))},
			[]string{count0, attempt1, notDone1, reacquiring, raced, checking2, reacquiring, notDone2, count2, attempt3}},
		{"done by another",
			[]step{waits(answers(lock.ErrJobDone, record(lock.JobDone, "other", 1)), running("other", 1))},
			[]string{checking1, reacquiring, elsewhere}},
		{"the record is gone, and granted anew",
			[]step{waits(grants(newLease(afresh(1))), running("other", 1))},
			[]string{checking1, reacquiring, gone, count0, attempt1}},
		{"the record is gone, and the lock is another run's",
			[]step{waits(grants(attempt(1)), running("other", 1), one(held("third", lock.JobInfo{})))},
			[]string{checking1, reacquiring, gone, "Checking status of work from attempt #0", reacquiring, count0, attempt1}},
		{"the last attempt's worker dies",
			[]step{waits(answers(lock.ErrJobExhausted, record(lock.JobExhausted, "other", 1)), running("other", 1))},
			[]string{checking1, reacquiring, notDone1, count1, givingUp}},
		{"exhausted before",
			[]step{answers(lock.ErrJobExhausted, record(lock.JobExhausted, "other", 2))},
			[]string{count2, givingUp}},
		{"Redis has not answered yet",
			[]step{waits(grants(attempt(1)), nil, nil)},
			[]string{"error: lock: redis unavailable", "error: lock: redis unavailable", count0, attempt1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, c := newFake(t, Config{StatusLevel: status.Verbose}, tt.script...)
				left := len(tt.script) // all attempts but the last fail
				_, _ = w.Run(t.Context(), testJob, func(context.Context, Attempt) error {
					if left--; left > 0 {
						return errWork
					}
					return nil
				})
				got := slices.DeleteFunc(c.list(), func(line string) bool {
					return !strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZ", line[:1]) && !strings.HasPrefix(line, "error")
				})
				if !slices.Equal(got, tt.want) {
					t.Errorf("messages:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
				}
			})
		})
	}
}

func TestLostLeaseIsReacquired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		w, _, c := newFake(t, Config{StatusLevel: status.Verbose}, grants(l), grants(attempt(2)))
		_, err := w.Run(t.Context(), testJob, func(_ context.Context, a Attempt) error {
			if a.Number == 1 {
				l.end(lock.ErrLeaseLost)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		wantCalls(t, c, "Current attempt count: 0", "This is attempt #1", "acquired #1", "lost #1", "Trying to reacquire lock",
			"Work was not completed, trying to reacquire lock for attempt #1", "Current attempt count: 1", "This is attempt #2",
			"acquired #2", "done #2", "result completed 2")
	})
}

// A history that was cut cannot tell whether the record is a new one.
func TestGoneIsNeverGuessed(t *testing.T) {
	p := progress{known: true, attempt: 3, fence: 1003}
	job := lock.JobInfo{Attempt: 200, Fence: 1200, Attempts: []lock.AttemptInfo{{Number: 101, Fence: 1101}, {Number: 200, Fence: 1200}}}
	if p.gone(job) {
		t.Error("a long history is not a new one")
	}
}

func TestStatusLevels(t *testing.T) {
	tests := []struct {
		level status.Level
		want  []status.Kind
	}{
		{status.Silent, nil},
		{status.Normal, []status.Kind{status.KindNotCompleted}},
		{status.Verbose, []status.Kind{status.KindAttemptCount, status.KindAttempt, status.KindNotCompleted,
			status.KindReacquiring, status.KindAttemptCount, status.KindAttempt, status.KindGivingUp}},
	}
	for _, tt := range tests {
		t.Run(tt.level.String(), func(t *testing.T) {
			var got []status.Event
			w, _, _ := newFake(t, Config{MaxAttempts: 2}, grants(attempt(1)), grants(attempt(2)))
			w.cfg.StatusLevel = tt.level
			w.cfg.Handlers.OnStatus = func(e status.Event) { got = append(got, e) }
			_, err := w.Run(t.Context(), testJob, fail)
			wantIs(t, err, ErrExhausted)
			var kinds []status.Kind
			for _, e := range got {
				kinds = append(kinds, e.Kind)
				if e.Time.IsZero() || e.Level != e.Kind.Level() || e.Key != "job" || e.Run != "run" || e.Worker != "me" || e.Max != 2 {
					t.Errorf("event %+v", e)
				}
				if e.Kind == status.KindNotCompleted {
					wantIs(t, e.Err, errWork)
				}
				if e.Kind == status.KindGivingUp {
					wantIs(t, e.Err, ErrExhausted)
				}
			}
			if !slices.Equal(kinds, tt.want) {
				t.Errorf("events %v, want %v", kinds, tt.want)
			}
		})
	}
}
