package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

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
