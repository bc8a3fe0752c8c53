package worker

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

func TestBlockedHandlerDelaysNothingButTheReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		w, _, c := newFake(t, Config{}, grants(l))
		release := make(chan struct{})
		w.cfg.Handlers.OnAcquired = func(Attempt) { <-release }
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			if outcome, err := w.Run(t.Context(), testJob, succeed); outcome != Completed || err != nil {
				t.Errorf("Run = %v, %v", outcome, err)
			}
		}()
		synctest.Wait()
		wantEnds(t, l, lock.Done)
		wantCalls(t, c)
		select {
		case <-returned:
			t.Error("Run returned before its handlers")
		default:
		}
		close(release)
		<-returned
		wantCalls(t, c, "done #1", "result completed 1")
	})
}

func TestOldestStatusEventsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const looks = 1500
		w, _, c := newFake(t, Config{StatusLevel: status.Verbose}, func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
			refusal := held("other", record(lock.JobRunning, "other", 1))
			claim.OnLook(lock.Look{Result: refusal})
			synctest.Wait() // OnLocked blocks
			for range looks / 2 {
				claim.OnLook(lock.Look{Again: true, Result: refusal}) // two events
			}
			claim.OnLook(lock.Look{Err: lock.ErrUnavailable})
			return grants(attempt(2))(ctx, claim)
		})
		w.cfg.Handlers.OnLocked = func(Job, string) { time.Sleep(time.Minute) }
		if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
			t.Fatal(err)
		}
		got := c.list()
		// The looks, an error, three statuses of the grant, acquired, done and result.
		const all = looks + 1 + 3 + 3
		if len(got) != 1+maxWaiting {
			t.Errorf("%d calls, want a report and %d", len(got), maxWaiting)
		}
		if want := fmt.Sprintf("%d status events were dropped because the handler was too slow", all-maxWaiting); got[0] != want {
			t.Errorf("first call: %s, want %s", got[0], want)
		}
		want := []string{"Trying to reacquire lock", "error: lock: redis unavailable",
			"Work was not completed, trying to reacquire lock for attempt #1", "Current attempt count: 1",
			"This is attempt #2", "acquired #2", "done #2", "result completed 2"}
		if tail := got[len(got)-len(want):]; strings.Join(tail, "; ") != strings.Join(want, "; ") {
			t.Errorf("last calls: %q", tail)
		}
	})
}

func TestOnlyStatusEventsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const looks = maxWaiting + 10
		w, _, c := newFake(t, Config{}, func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
			claim.OnLook(lock.Look{Result: held("other", record(lock.JobRunning, "other", 1))})
			synctest.Wait() // OnLocked blocks
			for range looks {
				claim.OnLook(lock.Look{Err: lock.ErrUnavailable})
			}
			return grants(attempt(2))(ctx, claim)
		})
		w.cfg.Handlers.OnLocked = func(Job, string) { time.Sleep(time.Minute) }
		if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
			t.Fatal(err)
		}
		if got := len(c.list()); got != looks+3 {
			t.Errorf("%d calls, want %d", got, looks+3)
		}
	})
}

func TestHandlerThatDoesNotReturn(t *testing.T) {
	tests := []struct {
		name string
		how  func()
		text string
	}{
		{"panic", func() { panic("ouch") }, "worker: panic: ouch"},
		{"Goexit", runtime.Goexit, "worker: runtime.Goexit was called"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _, c := newFake(t, Config{}, grants(attempt(1)))
			w.cfg.Handlers.OnAcquired = func(Attempt) { tt.how() }
			var reported error
			w.cfg.Handlers.OnError = func(_ Job, err error) {
				reported = err
				tt.how() // no recursion
			}
			outcome, err := w.Run(t.Context(), testJob, succeed)
			if outcome != Completed || err != nil {
				t.Errorf("Run = %v, %v", outcome, err)
			}
			wantCalls(t, c, "done #1", "result completed 1")
			if reported == nil || !strings.HasPrefix(reported.Error(), "worker: handler OnAcquired: "+tt.text) ||
				!strings.Contains(reported.Error(), "handlers_test.go") {
				t.Errorf("OnError was told %v", reported)
			}
		})
	}
}

func TestNothingIsCalledAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller()
		called := 0
		c.push(call{f: func() { called++ }})
		c.close()
		c.push(call{f: func() { called++ }})
		synctest.Wait()
		if called != 1 {
			t.Errorf("%d calls, want 1", called)
		}
	})
}

func TestHandlersMayBeNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := newFake(t, Config{MaxAttempts: 2}, waits(grants(attempt(1)), nil,
			one(held("other", record(lock.JobRunning, "other", 1)))), grants(attempt(2)))
		w.cfg.Handlers = Handlers{}
		_, err := w.Run(t.Context(), testJob, fail)
		wantIs(t, err, ErrExhausted)
	})
}

func TestHandlersMayCallTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newFake(t, Config{}, grants(attempt(1)), grants(attempt(1)))
		f.record = func(lock.JobID) (lock.JobInfo, error) { return lock.JobInfo{State: lock.JobRunning}, nil }
		first := true
		w.cfg.Handlers.OnDone = func(Attempt) {
			if !first {
				return
			}
			first = false
			if _, err := w.State(t.Context(), testJob); err != nil {
				t.Error(err)
			}
			if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
			t.Error(err)
		}
	})
}
