package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/lock"
)

func TestRunOutcomes(t *testing.T) {
	permanent := func(context.Context, Attempt) error { return Permanent(errWork) }
	tests := []struct {
		name    string
		cfg     Config
		script  []step
		work    Func
		outcome Outcome
		is      []error
		calls   []string
	}{
		{
			name:    "our work returned nil",
			script:  []step{grants(attempt(1))},
			work:    succeed,
			outcome: Completed,
			calls:   []string{"acquired #1", "done #1", "result completed 1"},
		}, {
			name:    "done before",
			script:  []step{answers(lock.ErrJobDone, record(lock.JobDone, "other", 2))},
			work:    never,
			outcome: CompletedElsewhere,
			calls:   []string{"result completed-elsewhere 2"},
		}, {
			name: "done by another meanwhile",
			script: []step{waits(answers(lock.ErrJobDone, record(lock.JobDone, "other", 1)),
				one(held("other", record(lock.JobRunning, "other", 1))))},
			work:    never,
			outcome: CompletedElsewhere,
			calls:   []string{`locked by "other"`, "result completed-elsewhere 1"},
		}, {
			name:    "held, and MaxWait is over",
			cfg:     Config{MaxWait: 10 * time.Second},
			script:  []step{waits(nil, one(held("other", record(lock.JobRunning, "other", 1))))},
			work:    never,
			outcome: HeldElsewhere,
			is:      []error{lock.ErrHeld},
			calls:   []string{`locked by "other"`, "result held-elsewhere 1"},
		}, {
			name:    "the last attempt fails",
			cfg:     Config{MaxAttempts: 2},
			script:  []step{grants(attempt(2))},
			work:    fail,
			outcome: Exhausted,
			is:      []error{ErrExhausted, errWork},
			calls: []string{"acquired #2", "failed #2: boom",
				`max attempts: worker: job is exhausted: "job" run "run" at attempt #2: boom`, "result exhausted 2"},
		}, {
			name:    "the maximum is found reached",
			script:  []step{answers(lock.ErrJobExhausted, record(lock.JobExhausted, "dead", 5))},
			work:    never,
			outcome: Exhausted,
			is:      []error{ErrExhausted},
			calls: []string{`max attempts: worker: job is exhausted: "job" run "run" at attempt #5`,
				"result exhausted 5"},
		}, {
			name:    "a permanent failure",
			script:  []step{grants(attempt(1))},
			work:    permanent,
			outcome: Exhausted,
			is:      []error{ErrExhausted, errWork},
			calls: []string{"acquired #1", "failed #1: boom",
				`max attempts: worker: job is exhausted: "job" run "run" at attempt #1: boom`, "result exhausted 1"},
		}, {
			name:    "fails, and is tried again",
			script:  []step{grants(attempt(1)), grants(attempt(2))},
			work:    func(_ context.Context, a Attempt) error { return []error{errWork, nil}[a.Number-1] },
			outcome: Completed,
			calls:   []string{"acquired #1", "failed #1: boom", "acquired #2", "done #2", "result completed 2"},
		}, {
			name: "fails, and one who waited is next",
			script: []step{waits(grants(attempt(1)), one(held("", record(lock.JobAbsent, "", 0)))),
				waits(answers(lock.ErrJobDone, record(lock.JobDone, "other", 2)), one(held("", record(lock.JobFailed, "me", 1))))},
			work:    fail,
			outcome: CompletedElsewhere,
			calls: []string{`locked by ""`, "acquired #1", "failed #1: boom", `locked by ""`,
				"result completed-elsewhere 2"},
		}, {
			name:    "Redis will not",
			script:  []step{answers(errRefused, lock.JobInfo{})},
			work:    never,
			outcome: 0,
			is:      []error{errRefused},
			calls:   []string{"error: NOPERM", "result unknown 0"},
		}, {
			name: "Redis is out of reach for a while",
			script: []step{waits(grants(attempt(1)), nil, nil,
				one(held("other", record(lock.JobRunning, "other", 0))))},
			work:    succeed,
			outcome: Completed,
			calls: []string{"error: lock: redis unavailable", "error: lock: redis unavailable", `locked by "other"`,
				"acquired #1", "done #1", "result completed 1"},
		}, {
			name:    "the Locker is closed",
			script:  []step{answers(lock.ErrClosed, lock.JobInfo{})},
			work:    never,
			outcome: 0,
			is:      []error{lock.ErrClosed},
			calls:   []string{"error: lock: closed", "result unknown 0"},
		}, {
			name: "the Locker is closed while we wait",
			cfg:  Config{MaxWait: time.Hour},
			script: []step{waits(answers(errors.Join(lock.ErrHeld, lock.ErrClosed), lock.JobInfo{}),
				one(held("other", record(lock.JobRunning, "other", 1))))},
			work:    never,
			outcome: 0,
			is:      []error{lock.ErrClosed},
			calls:   []string{`locked by "other"`, "error: lock: held by another", "result unknown 1"},
		}, {
			name: "locks that pass from one to another",
			script: []step{waits(grants(attempt(3)),
				one(held("a", record(lock.JobRunning, "a", 1))), one(held("a", record(lock.JobRunning, "a", 1))),
				one(held("", record(lock.JobFailed, "a", 1))), one(held("b", record(lock.JobRunning, "b", 2))))},
			work:    succeed,
			outcome: Completed,
			calls: []string{`locked by "a"`, `locked by "b"`, "acquired #3", "done #3",
				"result completed 3"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, c := newFake(t, tt.cfg, tt.script...)
				outcome, err := w.Run(t.Context(), testJob, tt.work)
				if outcome != tt.outcome {
					t.Errorf("outcome %v, want %v", outcome, tt.outcome)
				}
				if done := outcome == Completed || outcome == CompletedElsewhere; done != (err == nil) {
					t.Errorf("outcome %v with error %v", outcome, err)
				}
				wantIs(t, err, tt.is...)
				wantCalls(t, c, tt.calls...)
			})
		})
	}
}

func TestRunClaimsWithItsConfiguration(t *testing.T) {
	w, f, _ := newFake(t, Config{TTL: 3 * time.Second, MaxAttempts: 7}, grants(attempt(1)))
	if _, err := w.Run(t.Context(), Job{Key: "k", Run: Once("v1")}, succeed); err != nil {
		t.Fatal(err)
	}
	got := f.claims[0]
	if got.ID != (lock.JobID{Key: "k", Run: "v1"}) || got.TTL != 3*time.Second || got.MaxAttempts != 7 || got.Retention != lock.NoExpiry {
		t.Errorf("claim %+v", got)
	}
}

func TestFailureIsRecorded(t *testing.T) {
	l := attempt(1)
	w, _, _ := newFake(t, Config{RetryDelay: func(a Attempt, err error) time.Duration {
		if a.Number != 1 || err != errWork {
			t.Errorf("RetryDelay(%v, %v)", a, err)
		}
		return 42 * time.Second
	}}, grants(l), grants(attempt(2)))
	_, err := w.Run(t.Context(), testJob, func(_ context.Context, a Attempt) error {
		return []error{errWork, nil}[a.Number-1]
	})
	if err != nil {
		t.Fatal(err)
	}
	want := lock.Settlement{End: lock.Failed, Delay: 42 * time.Second, Retention: time.Minute, Cause: "boom"}
	if len(l.settled) != 1 || l.settled[0] != want {
		t.Errorf("settled %+v, want %+v", l.settled, want)
	}
}

func TestBadArguments(t *testing.T) {
	long := strings.Repeat("x", 513)
	tests := []struct {
		name string
		ctx  context.Context
		job  Job
		work Func
		want string
	}{
		{"nil context", nil, testJob, succeed, "worker: ctx is nil"},
		{"nil work", t.Context(), testJob, nil, "worker: work is nil"},
		{"empty key", t.Context(), Job{}, succeed, "worker: Job.Key is empty"},
		{"long key", t.Context(), Job{Key: long}, succeed, "worker: Job.Key has 513 bytes: at most 512"},
		{"long run", t.Context(), Job{Key: "k", Run: Once(long)}, succeed, "worker: Job.Run.Name has 513 bytes: at most 512"},
		{"negative retention", t.Context(), Job{Key: "k", Run: Run{Retention: -1}}, succeed, "worker: Job.Run.Retention -1ns: want 0 or more"},
		{"no period", t.Context(), Job{Key: "k", Run: Every(0, time.Now())}, succeed, "worker: Job.Run.Retention -1ns: want 0 or more"},
		{"all at once", nil, Job{}, nil, "worker: ctx is nil\nworker: Job.Key is empty\nworker: work is nil"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _, c := newFake(t, Config{}) // a claim would fail the test
			outcome, err := w.Run(tt.ctx, tt.job, tt.work)
			if outcome != 0 || err == nil || err.Error() != tt.want {
				t.Errorf("Run = %v, %q, want %q", outcome, err, tt.want)
			}
			wantIs(t, err, lock.ErrInvalid)
			wantCalls(t, c)
			if tt.work == nil {
				return
			}
			_, acquire := w.Acquire(tt.ctx, tt.job)
			_, state := w.State(tt.ctx, tt.job)
			for _, err := range []error{acquire, state, w.Reset(tt.ctx, tt.job)} {
				if err == nil || err.Error() != tt.want {
					t.Errorf("error %q, want %q", err, tt.want)
				}
			}
		})
	}
}

func TestStateAndReset(t *testing.T) {
	w, f, _ := newFake(t, Config{})
	f.record = func(id lock.JobID) (lock.JobInfo, error) {
		return lock.JobInfo{ID: id, State: lock.JobDone}, nil
	}
	info, err := w.State(t.Context(), testJob)
	if err != nil || info.State != lock.JobDone || info.ID != testJob.id() {
		t.Errorf("State = %+v, %v", info, err)
	}
	f.record = func(lock.JobID) (lock.JobInfo, error) { return lock.JobInfo{}, errRefused }
	if _, err := w.State(t.Context(), testJob); err != errRefused {
		t.Errorf("State: %v", err)
	}
	wantIs(t, w.Reset(t.Context(), testJob), lock.ErrHeld)
}

func TestLogLines(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	w, _, _ := newFake(t, Config{Logger: zap.New(core)}, grants(attempt(1)))
	if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
		t.Fatal(err)
	}
	var messages []string
	for _, entry := range logs.All() {
		messages = append(messages, entry.Message)
		if fields := entry.ContextMap(); fields["key"] != "job" || fields["run"] != "run" {
			t.Errorf("%s: fields %v", entry.Message, fields)
		}
	}
	if got := strings.Join(messages, ", "); got != "attempt granted, attempt completed, run ended" {
		t.Errorf("logged: %s", got)
	}
	fields := logs.All()[0].ContextMap()
	if fields["owner"] != "me" || fields["fence"] != "1001" || fields["attempt"] != int64(1) {
		t.Errorf("fields of a grant: %v", fields)
	}
}
