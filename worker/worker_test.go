package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

func TestAlreadyCancelledSendsNothing(t *testing.T) {
	cause := errors.New("deploy")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	w, _, c := newFake(t, Config{})
	outcome, err := w.Run(ctx, testJob, never)
	if outcome != Interrupted || err != cause {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	if _, err := w.Acquire(ctx, testJob); err != cause {
		t.Errorf("Acquire: %v", err)
	}
	wantCalls(t, c, "result interrupted 0")
}

func TestInterruptedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("deploy")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		w, _, c := newFake(t, Config{}, waits(nil, one(held("other", record(lock.JobRunning, "other", 1)))))
		outcome, err := w.Run(ctx, testJob, never)
		if outcome != Interrupted {
			t.Errorf("outcome %v", outcome)
		}
		wantIs(t, err, cause, lock.ErrHeld)
		wantCalls(t, c, `locked by "other"`, "result interrupted 1")
	})
}

func TestInterruptedWorkIsGivenBack(t *testing.T) {
	tests := []struct {
		name    string
		work    Func
		outcome Outcome
		is      []error
		end     lock.End
	}{
		{"returns the cause", untilEnded, Interrupted, []error{context.Canceled}, lock.Returned},
		{"returns an error of its own", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			return errWork
		}, Interrupted, []error{context.Canceled, errWork}, lock.Returned},
		{"returns a permanent error", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			return Permanent(errWork)
		}, Interrupted, []error{context.Canceled, errWork}, lock.Returned},
		{"is done all the same", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			return nil
		}, Completed, nil, lock.Done},
		{"panics", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			panic("boom")
		}, Interrupted, []error{context.Canceled}, lock.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel)
				l := attempt(1)
				l.settle = func(ctx context.Context, _ lock.Settlement) error {
					if deadline, ok := ctx.Deadline(); ctx.Err() != nil || !ok || time.Until(deadline) != DefaultTTL {
						t.Errorf("settled with a context that ends at %v: %v", deadline, ctx.Err())
					}
					return nil
				}
				w, _, _ := newFake(t, Config{}, grants(l))
				outcome, err := w.Run(ctx, testJob, tt.work)
				if outcome != tt.outcome || (err == nil) != (tt.is == nil) {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				wantIs(t, err, tt.is...)
				wantEnds(t, l, tt.end)
			})
		})
	}
}

func TestCancelledInTheMomentOfTheGrant(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := attempt(1)
	w, _, _ := newFake(t, Config{}, func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
		cancel()
		return grants(l)(ctx, claim)
	})
	outcome, err := w.Run(ctx, testJob, never)
	if outcome != Interrupted || err != context.Canceled {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	wantEnds(t, l, lock.Returned)
}

// The lease of a settlement that fails must not be renewed any more: the worker would wait for itself.
func TestSettlementThatFails(t *testing.T) {
	tests := []struct {
		name    string
		settle  error // of attempt 1
		record  lock.JobInfo
		get     error
		next    step
		work    Func
		outcome Outcome
		is      error
		calls   []string
	}{
		{
			name:    "done unknown, but it is recorded",
			settle:  lock.ErrOutcomeUnknown,
			record:  record(lock.JobDone, "me", 1),
			work:    succeed,
			outcome: Completed,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as done: lock: outcome unknown",
				"done #1", "result completed 1"},
		}, {
			name:    "done unknown, and only the next claim can tell that it is recorded",
			settle:  lock.ErrOutcomeUnknown,
			get:     lock.ErrUnavailable,
			next:    answers(lock.ErrJobDone, record(lock.JobDone, "me", 1)),
			work:    succeed,
			outcome: Completed,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as done: lock: outcome unknown",
				"done #1", "result completed 1"},
		}, {
			name:    "done unknown, and it is another's",
			settle:  lock.ErrOutcomeUnknown,
			record:  record(lock.JobDone, "other", 2),
			next:    answers(lock.ErrJobDone, record(lock.JobDone, "other", 2)),
			work:    succeed,
			outcome: CompletedElsewhere,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as done: lock: outcome unknown",
				"result completed-elsewhere 2"},
		}, {
			name:    "done unknown, and it is not recorded",
			settle:  lock.ErrOutcomeUnknown,
			record:  record(lock.JobRunning, "me", 1),
			next:    grants(attempt(2)),
			work:    succeed,
			outcome: Completed,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as done: lock: outcome unknown",
				"acquired #2", "done #2", "result completed 2"},
		}, {
			name:    "failed, but Redis is out of reach",
			settle:  lock.ErrUnavailable,
			next:    answers(lock.ErrJobExhausted, record(lock.JobExhausted, "other", 5)),
			work:    fail,
			outcome: Exhausted,
			is:      ErrExhausted,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as failed: lock: redis unavailable: boom",
				`max attempts: worker: job is exhausted: "job" run "run" at attempt #5`, "result exhausted 5"},
		}, {
			name:    "the lease was lost meanwhile",
			settle:  lock.ErrLeaseLost,
			next:    answers(lock.ErrJobDone, record(lock.JobDone, "other", 2)),
			work:    succeed,
			outcome: CompletedElsewhere,
			calls:   []string{"acquired #1", "lost #1", "result completed-elsewhere 2"},
		}, {
			name:    "the Locker is closed",
			settle:  lock.ErrClosed,
			work:    fail,
			outcome: 0,
			is:      lock.ErrClosed,
			calls: []string{"acquired #1", "error: worker: attempt #1 could not be recorded as failed: lock: closed: boom",
				"result unknown 1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				l.settle = func(ctx context.Context, _ lock.Settlement) error {
					if tt.settle == lock.ErrUnavailable {
						<-ctx.Done() // so long the Locker tries
					}
					return tt.settle
				}
				script := []step{grants(l)}
				if tt.next != nil {
					script = append(script, tt.next)
				}
				w, f, c := newFake(t, Config{}, script...)
				f.record = func(lock.JobID) (lock.JobInfo, error) { return tt.record, tt.get }
				outcome, err := w.Run(t.Context(), testJob, func(ctx context.Context, a Attempt) error {
					if a.Number > 1 {
						time.Sleep(time.Minute) // the lapsed lease of #1 ends; that was reported already
					}
					return tt.work(ctx, a)
				})
				if outcome != tt.outcome || (err == nil) != (tt.is == nil) {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				if tt.is != nil {
					wantIs(t, err, tt.is)
				}
				wantCalls(t, c, tt.calls...)
				if lost := tt.settle == lock.ErrLeaseLost; l.lapsed() == lost {
					t.Errorf("renewal of the lease ended: %v", l.lapsed())
				}
			})
		})
	}
}

// What Redis refuses for now, as when it is out of memory, is tried again while the lease lasts.
func TestSettlementIsTriedAgain(t *testing.T) {
	maybe := fmt.Errorf("%w: %w", lock.ErrOutcomeUnknown, lock.ErrUnavailable)
	tests := []struct {
		name     string
		failures []error // of settling #1
		done     bool    // recorded after that; otherwise the lease is lost
		calls    []string
	}{
		{"until it is recorded", []error{lock.ErrUnavailable, maybe}, true,
			[]string{"acquired #1", "error: lock: redis unavailable", "error: lock: outcome unknown: lock: redis unavailable",
				"done #1", "result completed 1"}},
		{"until the lease is lost", []error{lock.ErrUnavailable, lock.ErrLeaseLost}, false,
			[]string{"acquired #1", "error: lock: redis unavailable", "lost #1", "acquired #2", "done #2", "result completed 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				l.settle = func(context.Context, lock.Settlement) error {
					if n := len(l.settled); n <= len(tt.failures) {
						return tt.failures[n-1]
					}
					return nil
				}
				script := []step{grants(l)}
				if !tt.done {
					script = append(script, grants(attempt(2)))
				}
				w, _, c := newFake(t, Config{}, script...)
				if outcome, err := w.Run(t.Context(), testJob, succeed); outcome != Completed || err != nil {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				wantCalls(t, c, tt.calls...)
			})
		})
	}
}

func TestUnknownStaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := attempt(1)
		l.settle = func(ctx context.Context, _ lock.Settlement) error {
			if len(l.settled) == 1 {
				return fmt.Errorf("%w: %w", lock.ErrOutcomeUnknown, lock.ErrUnavailable)
			}
			<-ctx.Done()
			return lock.ErrUnavailable // this one was not sent, but the first may have arrived
		}
		w, f, _ := newFake(t, Config{}, grants(l))
		f.record = func(lock.JobID) (lock.JobInfo, error) { return lock.JobInfo{}, lock.ErrUnavailable }
		outcome, err := w.Run(ctx, testJob, func(context.Context, Attempt) error {
			cancel()
			return nil
		})
		if outcome != Interrupted {
			t.Errorf("outcome %v", outcome)
		}
		wantIs(t, err, context.Canceled, lock.ErrOutcomeUnknown)
	})
}

func TestInterruptedWithUnknownOutcomeSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := attempt(1)
		l.settle = func(ctx context.Context, _ lock.Settlement) error {
			<-ctx.Done()
			return errors.Join(lock.ErrOutcomeUnknown, ctx.Err())
		}
		w, f, _ := newFake(t, Config{}, grants(l))
		f.record = func(lock.JobID) (lock.JobInfo, error) { return lock.JobInfo{}, lock.ErrUnavailable }
		began := time.Now()
		outcome, err := w.Run(ctx, testJob, func(context.Context, Attempt) error {
			cancel()
			return nil
		})
		if outcome != Interrupted || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v, %v", outcome, err)
		}
		wantIs(t, err, context.Canceled, lock.ErrOutcomeUnknown)
		if took := time.Since(began); took != DefaultTTL {
			t.Errorf("recording took %v, want the rest of the lease", took)
		}
	})
}

func TestLeaseLostDuringWork(t *testing.T) {
	for name, returned := range map[string]error{"nil": nil, "the cause": lock.ErrLeaseLost, "an error": errWork} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				time.AfterFunc(time.Minute, func() { l.end(lock.ErrLeaseLost) })
				w, _, c := newFake(t, Config{}, grants(l), grants(attempt(3)))
				outcome, err := w.Run(t.Context(), testJob, func(ctx context.Context, a Attempt) error {
					if a.Number == 3 {
						return nil
					}
					<-ctx.Done()
					if cause := context.Cause(ctx); cause != lock.ErrLeaseLost {
						t.Errorf("cause %v", cause)
					}
					synctest.Wait()
					wantCalls(t, c, "acquired #1", "lost #1") // at once, not when the work returns
					return returned
				})
				if outcome != Completed || err != nil {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				wantEnds(t, l) // nothing is written
				want := []string{"acquired #1", "lost #1", "acquired #3", "done #3", "result completed 3"}
				if returned == errWork {
					want = append(want[:2:2], append([]string{"error: worker: attempt #1, after its lease was lost: boom"}, want[2:]...)...)
				}
				wantCalls(t, c, want...)
			})
		})
	}
}

func TestLockerClosedDuringWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		time.AfterFunc(time.Minute, func() { l.end(lock.ErrClosed) })
		w, _, _ := newFake(t, Config{}, grants(l))
		outcome, err := w.Run(t.Context(), testJob, untilEnded)
		if outcome != 0 {
			t.Errorf("outcome %v", outcome)
		}
		wantIs(t, err, lock.ErrClosed)
		wantEnds(t, l)
	})
}

func TestWorkTimeout(t *testing.T) {
	tests := []struct {
		name string
		work Func
		end  lock.End
		text string
	}{
		{"looks at its context", untilEnded, lock.Failed, "worker: work timeout"},
		{"returns the context's error", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			return ctx.Err()
		}, lock.Failed, "worker: work timeout"},
		{"returns an error of its own", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			return errWork
		}, lock.Failed, "worker: work timeout: boom"},
		{"is done a little later", func(ctx context.Context, _ Attempt) error {
			<-ctx.Done()
			time.Sleep(DefaultTTL - 1)
			return nil
		}, lock.Done, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				l.settle = func(context.Context, lock.Settlement) error {
					time.Sleep(time.Second) // longer than the renewal of work that goes on would last
					return nil
				}
				w, _, _ := newFake(t, Config{WorkTimeout: time.Minute, MaxAttempts: 1}, grants(l))
				_, err := w.Run(t.Context(), testJob, tt.work)
				wantEnds(t, l, tt.end)
				if l.settled[0].Cause != tt.text {
					t.Errorf("cause %q, want %q", l.settled[0].Cause, tt.text)
				}
				if tt.end == lock.Failed {
					wantIs(t, err, ErrWorkTimeout)
				} else if err != nil {
					t.Error(err)
				}
				if l.lapsed() {
					t.Error("the lease was left to lapse")
				}
			})
		})
	}
}

func TestWorkThatIgnoresItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		began := time.Now()
		w, _, c := newFake(t, Config{WorkTimeout: time.Minute}, grants(l),
			answers(lock.ErrJobDone, record(lock.JobDone, "other", 2)))
		outcome, err := w.Run(t.Context(), testJob, func(ctx context.Context, _ Attempt) error {
			time.Sleep(time.Minute + DefaultTTL - 1)
			if l.lapsed() {
				t.Error("not renewed for one lease more")
			}
			if cause := context.Cause(ctx); cause != ErrWorkTimeout {
				t.Errorf("cause %v", cause)
			}
			time.Sleep(time.Hour)
			return nil
		})
		if outcome != CompletedElsewhere || err != nil {
			t.Errorf("Run = %v, %v", outcome, err)
		}
		if time.Since(began) < time.Hour {
			t.Error("Run returned before the work")
		}
		wantEnds(t, l)
		wantCalls(t, c, "acquired #1",
			"error: worker: work timeout: attempt #1 goes on regardless, and its lease is not renewed any more",
			"lost #1", "result completed-elsewhere 2")
	})
}

// The work of one worker calls Run of another: the outer time limit interrupts the inner work.
func TestOuterTimeoutInterruptsInnerWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, outer := attempt(1), attempt(1)
		wi, _, _ := newFake(t, Config{WorkTimeout: time.Hour}, grants(inner))
		wo, _, _ := newFake(t, Config{WorkTimeout: time.Minute, MaxAttempts: 1}, grants(outer))
		_, err := wo.Run(t.Context(), testJob, func(ctx context.Context, _ Attempt) error {
			_, err := wi.Run(ctx, testJob, untilEnded)
			return err
		})
		wantIs(t, err, ErrExhausted, ErrWorkTimeout)
		wantEnds(t, inner, lock.Returned)
		wantEnds(t, outer, lock.Failed)
	})
}

func TestWorkSeesTheCallersContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
	defer cancel()
	w, _, _ := newFake(t, Config{}, grants(attempt(1)))
	_, err := w.Run(ctx, testJob, func(inner context.Context, _ Attempt) error {
		want, _ := ctx.Deadline()
		if got, ok := inner.Deadline(); !ok || got != want || inner.Value(key{}) != "value" {
			t.Errorf("deadline %v, value %v", got, inner.Value(key{}))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWorkThatDoesNotReturn(t *testing.T) {
	tests := []struct {
		name   string
		work   Func
		goexit bool
		cause  string
	}{
		{"panic", func(context.Context, Attempt) error { panic("boom") }, false, "worker: panic: boom"},
		{"panic with a permanent error", func(context.Context, Attempt) error { panic(Permanent(errWork)) }, false, "worker: panic: boom"},
		{"Goexit", func(context.Context, Attempt) error { runtime.Goexit(); return nil }, true, "worker: runtime.Goexit was called"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := attempt(1)
			w, _, c := newFake(t, Config{}, grants(l), grants(attempt(5)))
			_, err := w.Run(t.Context(), testJob, tt.work)
			wantIs(t, err, ErrExhausted)
			wantEnds(t, l, lock.Failed)
			if got := l.settled[0].Cause; got != tt.cause {
				t.Errorf("recorded cause %q, want %q", got, tt.cause)
			}
			var p *PanicError
			if !errors.As(err, &p) {
				t.Fatalf("error %v is no *PanicError", err)
			}
			if p.Goexit != tt.goexit || !strings.Contains(p.Error(), "worker_test.go") {
				t.Errorf("Goexit %v, or the stack does not show the work: %v", p.Goexit, p)
			}
			wantCalls(t, c,
				"acquired #1", "error: "+tt.cause, "failed #1: "+tt.cause,
				"acquired #5", "error: "+tt.cause, "failed #5: "+tt.cause,
				`max attempts: worker: job is exhausted: "job" run "run" at attempt #5: `+tt.cause, "result exhausted 5")
		})
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
	if fields["worker"] != "me" || fields["fence"] != "1001" || fields["attempt"] != int64(1) {
		t.Errorf("fields of a grant: %v", fields)
	}
}
