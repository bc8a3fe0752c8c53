package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

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
