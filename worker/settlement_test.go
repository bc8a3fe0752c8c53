package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

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

// TestRecordingGoesOnWhileTheLeaseIsRenewed, but not for ever.
func TestRecordingGoesOnWhileTheLeaseIsRenewed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered time.Duration // after how long it can be recorded
		took     time.Duration
		outcome  Outcome
	}{
		{"recorded in the end", 4*DefaultTTL + time.Second, 4*DefaultTTL + time.Second, Completed},
		{"never", time.Hour, maxRelease, Interrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := time.Now()
				l := attempt(1)
				l.settle = func(ctx context.Context, _ lock.Settlement) error {
					select {
					case <-time.After(time.Until(began.Add(tt.answered))):
						return nil
					case <-ctx.Done():
						return errors.Join(lock.ErrOutcomeUnknown, ctx.Err())
					}
				}
				var took time.Duration
				script := []step{grants(l)}
				if tt.outcome != Completed {
					script = append(script, func(context.Context, lock.JobClaim) (lease, lock.JobResult, error) {
						cancel() // it claims again: recording has been given up
						return nil, lock.JobResult{}, context.Canceled
					})
				}
				w, f, _ := newFake(t, Config{}, script...)
				f.record = func(lock.JobID) (lock.JobInfo, error) {
					took = time.Since(began)
					return lock.JobInfo{}, lock.ErrUnavailable
				}
				outcome, _ := w.Run(ctx, testJob, succeed)
				if took == 0 {
					took = time.Since(began)
				}
				if outcome != tt.outcome || took != tt.took {
					t.Errorf("Run = %v after %v, want %v after %v", outcome, took, tt.outcome, tt.took)
				}
			})
		})
	}
}
