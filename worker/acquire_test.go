package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func TestAcquireErrors(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		step step
		is   []error
		text string
	}{
		{
			name: "done",
			step: answers(lock.ErrJobDone, record(lock.JobDone, "other", 1)),
			is:   []error{ErrDone},
			text: `worker: job is done already: "job" run "run"`,
		}, {
			name: "exhausted",
			step: answers(lock.ErrJobExhausted, record(lock.JobExhausted, "other", 5)),
			is:   []error{ErrExhausted},
			text: `worker: job is exhausted: "job" run "run" at attempt #5`,
		}, {
			name: "held",
			cfg:  Config{MaxWait: time.Minute},
			step: waits(nil, one(held("other", record(lock.JobRunning, "other", 1)))),
			is:   []error{lock.ErrHeld},
			text: `worker: "job" run "run" by "other": lock: held by another`,
		}, {
			name: "delayed",
			cfg:  Config{MaxWait: NoWait},
			step: func(context.Context, lock.JobClaim) (lease, lock.JobResult, error) {
				return nil, tooEarly(record(lock.JobFailed, "other", 1)), lock.ErrTooEarly
			},
			is:   []error{lock.ErrHeld, lock.ErrTooEarly},
			text: `worker: "job" run "run" failed elsewhere, and its delay is not over: lock: too early, lock: held by another`,
		}, {
			name: "refused by Redis",
			step: answers(errRefused, lock.JobInfo{}),
			is:   []error{errRefused},
			text: "NOPERM",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, _ := newFake(t, tt.cfg, tt.step)
				grant, err := w.Acquire(t.Context(), testJob)
				if grant != nil || err == nil || err.Error() != tt.text {
					t.Errorf("Acquire = %v, %v, want %s", grant, err, tt.text)
				}
				wantIs(t, err, tt.is...)
			})
		})
	}
}

func TestMaxWait(t *testing.T) {
	other := one(held("other", record(lock.JobRunning, "other", 1)))
	tests := []struct {
		name string
		step step
		wait time.Duration // until Run gives up
	}{
		{"counts from the first refusal", waits(nil, other), time.Minute},
		{"an outage before it does not count", waits(nil, nil, nil, other), time.Minute + 2*time.Second},
		{"an outage after it does", waits(nil, other, nil, nil), time.Minute},
		{"the delay after another's failure counts", waits(nil, one(tooEarly(record(lock.JobFailed, "other", 1)))), time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, _ := newFake(t, Config{MaxWait: time.Minute}, tt.step)
				began := time.Now()
				outcome, err := w.Run(t.Context(), testJob, never)
				if outcome != HeldElsewhere || time.Since(began) != tt.wait {
					t.Errorf("Run = %v, %v after %v, want %v", outcome, err, time.Since(began), tt.wait)
				}
				wantIs(t, err, lock.ErrHeld)
			})
		})
	}
}

func TestOwnDelayIsNoWaitForAnother(t *testing.T) {
	for name, maxWait := range map[string]time.Duration{"MaxWait": time.Second, "NoWait": NoWait} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				own := one(tooEarly(record(lock.JobFailed, "me", 1)))
				w, f, _ := newFake(t, Config{MaxWait: maxWait}, grants(attempt(1)), waits(grants(attempt(2)), own, own, own))
				outcome, err := w.Run(t.Context(), testJob, func(_ context.Context, a Attempt) error {
					return []error{errWork, nil}[a.Number-1]
				})
				if outcome != Completed || err != nil {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				if want := map[bool]int{true: 1}[maxWait == NoWait]; f.tries != want {
					t.Errorf("%d claims that do not wait, want %d", f.tries, want)
				}
			})
		})
	}
}

func TestNoWait(t *testing.T) {
	refused := func(r lock.JobResult) step {
		return func(context.Context, lock.JobClaim) (lease, lock.JobResult, error) { return nil, r, r.Grant.Err }
	}
	other := held("other", record(lock.JobRunning, "other", 2))
	outage := answers(lock.ErrUnavailable, lock.JobInfo{})
	stall := func(ctx context.Context, _ lock.JobClaim) (lease, lock.JobResult, error) {
		<-ctx.Done()
		return nil, lock.JobResult{}, context.Cause(ctx)
	}
	tests := []struct {
		name    string
		script  []step
		outcome Outcome
		tries   int
		calls   []string
	}{
		{"held", []step{refused(other)}, HeldElsewhere, 1,
			[]string{`locked by "other"`, "result held-elsewhere 2"}},
		{"held after an outage", []step{outage, outage, refused(other)}, HeldElsewhere, 3,
			[]string{"error: lock: redis unavailable", "error: lock: redis unavailable", `locked by "other"`, "result held-elsewhere 2"}},
		{"granted after a stall", []step{stall, grants(attempt(1))}, Completed, 2,
			[]string{"error: lock: redis unavailable: context deadline exceeded", "acquired #1", "done #1", "result completed 1"}},
		{"granted", []step{grants(attempt(1))}, Completed, 1,
			[]string{"acquired #1", "done #1", "result completed 1"}},
		{"failed, and another was faster", []step{grants(attempt(1)), waits(nil, &other)}, HeldElsewhere, 1,
			[]string{"acquired #1", "failed #1: boom", `locked by "other"`, "result held-elsewhere 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f, c := newFake(t, Config{MaxWait: NoWait}, tt.script...)
				outcome, err := w.Run(t.Context(), testJob, func(ctx context.Context, a Attempt) error {
					if tt.outcome == Completed {
						return nil
					}
					return errWork
				})
				if outcome != tt.outcome || (outcome == HeldElsewhere) != errors.Is(err, lock.ErrHeld) {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				if f.tries != tt.tries {
					t.Errorf("%d claims that do not wait, want %d", f.tries, tt.tries)
				}
				wantCalls(t, c, tt.calls...)
			})
		})
	}
}

func TestNoWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("deploy")
		ctx, cancel := context.WithCancelCause(t.Context())
		outage := answers(lock.ErrUnavailable, lock.JobInfo{})
		w, _, _ := newFake(t, Config{MaxWait: NoWait}, outage, func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
			cancel(cause)
			return outage(ctx, claim)
		})
		outcome, err := w.Run(ctx, testJob, never)
		if outcome != Interrupted {
			t.Errorf("outcome %v", outcome)
		}
		wantIs(t, err, cause)
	})
}

// A look that comes after its claim was answered belongs to nothing any more.
func TestLateLookIsIgnored(t *testing.T) {
	var late func(lock.Look)
	w, _, c := newFake(t, Config{}, func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
		late = claim.OnLook
		return grants(attempt(1))(ctx, claim)
	})
	_, err := w.Run(t.Context(), testJob, func(context.Context, Attempt) error {
		late(lock.Look{Result: held("other", record(lock.JobRunning, "other", 1))})
		late(lock.Look{Err: lock.ErrUnavailable})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	late(lock.Look{Again: true})
	wantCalls(t, c, "acquired #1", "done #1", "result completed 1")
}
