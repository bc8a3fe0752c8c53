package locktest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/locktest"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/status/statustest"
	"github.com/lockingworker/lockingworker/worker"
)

// The report's first attempt fails, the second loses its lease, the third is done.
func TestReportIsSentInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := locktest.New(t)
		steps := statustest.New()
		reports, err := worker.New(redis.Locker(lock.Config{}), worker.Config{
			RetryDelay:  worker.HandOver,
			StatusLevel: status.Verbose,
			Handlers:    worker.Handlers{OnStatus: steps.Record},
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		job := worker.Job{Key: "report", Run: worker.Daily(began)}
		outcome, err := reports.Run(t.Context(), job, func(ctx context.Context, a worker.Attempt) error {
			switch a.Number {
			case 1:
				return errors.New("no paper")
			case 2:
				redis.Take("report", "another", 2*time.Second)
				<-ctx.Done() // the work must stop here
				if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrLeaseLost) {
					t.Errorf("the context ended with %v", cause)
				}
				return ctx.Err()
			}
			return nil
		})

		if outcome != worker.Completed || err != nil {
			t.Errorf("%v, %v", outcome, err)
		}
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("it took %v of the bubble's time", took)
		}
		if got := steps.Messages(); !slices.Equal(got, []string{
			"Current attempt count: 0",
			"This is attempt #1",
			"Work was not completed, trying to reacquire lock for attempt #1",
			"Trying to reacquire lock",
			"Current attempt count: 1",
			"This is attempt #2",
			"Trying to reacquire lock",
			"Work was not completed, trying to reacquire lock for attempt #2",
			"Checking status of work from attempt #2",
			"Trying to reacquire lock",
			"Checking status of work from attempt #2",
			"Trying to reacquire lock",
			"Current attempt count: 2",
			"This is attempt #3",
		}) {
			t.Errorf("what it did: %q", got)
		}
	})
}

// Of two processes the one that works stops in the middle of it; the other one takes over.
func TestReportSurvivesItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := locktest.New(t)
		job := worker.Job{Key: "report", Run: worker.Daily(time.Now())}
		var processes sync.WaitGroup
		for range 2 {
			locker := redis.Locker(lock.Config{})
			reports, err := worker.New(locker, worker.Config{})
			if err != nil {
				t.Fatal(err)
			}
			processes.Go(func() {
				first := false
				outcome, err := reports.Run(t.Context(), job, func(ctx context.Context, a worker.Attempt) error {
					if first = a.Number == 1; first {
						_ = locker.Close() // from now on nothing is renewed or recorded
					}
					return ctx.Err()
				})
				switch {
				case first && !errors.Is(err, lock.ErrClosed):
					t.Errorf("the one that stopped: %v, %v", outcome, err)
				case !first && outcome != worker.Completed:
					t.Errorf("the other one: %v, %v", outcome, err)
				}
			})
		}
		processes.Wait()
	})
}
