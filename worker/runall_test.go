package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

func TestRunAllOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newRunAll(t, Config{MaxAttempts: 2, MaxWait: time.Minute})
		f.set("done before", lock.JobDone, 1)
		f.set("exhausted before", lock.JobExhausted, 2)
		f.set("failed before", lock.JobFailed, 1)
		f.hold("done meanwhile", 10*time.Second, true)
		f.hold("dies meanwhile", 10*time.Second, false)
		f.hold("held", time.Hour, false)
		work := func(_ context.Context, a Attempt) error {
			switch {
			case a.Job.Key == "fails once" && a.Number == 1, a.Job.Key == "fails twice":
				return errWork
			case a.Job.Key == "permanent":
				return Permanent(errWork)
			case a.Job.Key == "panics once" && a.Number == 1:
				panic("boom")
			}
			return nil
		}
		summary, err := w.RunAll(t.Context(), keys("plain", "done before", "exhausted before", "failed before",
			"done meanwhile", "dies meanwhile", "held", "fails once", "fails twice", "permanent", "panics once", ""), work)
		for key, want := range map[string]Outcome{
			"plain": Completed, "done before": CompletedElsewhere, "exhausted before": Exhausted, "failed before": Completed,
			"done meanwhile": CompletedElsewhere, "dies meanwhile": Completed, "held": HeldElsewhere, "fails once": Completed,
			"fails twice": Exhausted, "permanent": Exhausted, "panics once": Completed, "": 0,
		} {
			if got := r.outcome(t, key); got != want {
				t.Errorf("%q: %v, want %v", key, got, want)
			}
		}
		wantSummary(t, summary, Summary{Completed: 5, CompletedElsewhere: 2, HeldElsewhere: 1, Exhausted: 3, Unknown: 1, Attempts: 10})
		wantIs(t, err, ErrExhausted, lock.ErrHeld, lock.ErrInvalid)
		var unfinished *UnfinishedError
		if !errors.As(err, &unfinished) || unfinished.Summary != summary || unfinished.Cause != nil {
			t.Errorf("error %v", err)
		}
		if text := "worker: RunAll: 7 of 12 jobs done (5 completed, 2 completed-elsewhere, 1 held-elsewhere, 3 exhausted, 1 unknown)"; !strings.HasPrefix(err.Error(), text) {
			t.Errorf("error %q, want %q", err, text)
		}
	})
}

func TestRunAllIsNilIfAllIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{})
		f.set("before", lock.JobDone, 1)
		summary, err := w.RunAll(t.Context(), keys("a", "b", "before"), succeed)
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, summary, Summary{Completed: 2, CompletedElsewhere: 1, Attempts: 2})
		if summary, err = w.RunAll(t.Context(), keys(), never); err != nil || summary != (Summary{}) {
			t.Errorf("of nothing: %+v, %v", summary, err)
		}
	})
}

func TestRunAllDoesEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := newRunAll(t, Config{})
		var d done
		summary, err := w.RunAll(t.Context(), keys(numbered(10_000)...), d.takes(20*time.Millisecond))
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, summary, Summary{Completed: 10_000, Attempts: 10_000})
		d.wantOnce(t, 10_000)
		if d.most != DefaultConcurrency {
			t.Errorf("%d works at a time", d.most)
		}
	})
}

// What is claimed ahead would be kept from others for as long as a work takes.
func TestLongWorksAreNotClaimedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		var d done
		if _, err := w.RunAll(t.Context(), keys(numbered(100)...), d.takes(time.Minute)); err != nil {
			t.Error(err)
		}
		if f.most > 8 || f.back != nil { // those whose end is being recorded are held, too
			t.Errorf("%d grants at a time, %v given back", f.most, f.back)
		}
	})
}

func TestShortWorksAreClaimedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		f.trip = 10 * time.Millisecond
		var d done
		if _, err := w.RunAll(t.Context(), keys(numbered(2000)...), d.takes(time.Millisecond)); err != nil {
			t.Error(err)
		}
		d.wantOnce(t, 2000)
		if most := 4 * (1 + maxAhead); f.most > most {
			t.Errorf("%d grants at a time, want at most %d", f.most, most)
		}
		if len(f.calls) > 2000/4/4 {
			t.Errorf("%d claims for 2,000 jobs, 4 at a time", len(f.calls))
		}
	})
}

// Works that were short and are not any more: others may have what was claimed ahead.
func TestWhatDoesNotBeginSoonIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		f.trip = 10 * time.Millisecond
		var n atomic.Int64
		work := func(_ context.Context, a Attempt) error {
			if a.Number != 1 {
				t.Errorf("%v is attempt %d", a.Job, a.Number)
			}
			if n.Add(1) > 1000 {
				time.Sleep(time.Minute)
			}
			time.Sleep(time.Millisecond)
			return nil
		}
		began := time.Now()
		time.AfterFunc(10*time.Second, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.held != 4 || sum(f.back) == 0 || time.Since(began) != 10*time.Second {
				t.Errorf("%d held, %v given back", f.held, f.back)
			}
		})
		summary, err := w.RunAll(t.Context(), keys(numbered(1100)...), work)
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, summary, Summary{Completed: 1100, Attempts: 1100})
		if len(f.back) > 3 {
			t.Errorf("given back: %v", f.back)
		}
	})
}

// Where most is done already, more is claimed than there is room for, and no more is granted.
func TestClaimsGrowWhereMostIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		names := numbered(10_000)
		for _, name := range names[:9_000] {
			f.set(name, lock.JobDone, 1)
		}
		var d done
		summary, err := w.RunAll(t.Context(), keys(names...), d.takes(time.Second))
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, summary, Summary{Completed: 1000, CompletedElsewhere: 9000, Attempts: 1000})
		d.wantOnce(t, 1000)
		if n := slices.Max(f.calls); n < 64 || n > maxClaim || f.most > 8 || f.back != nil { // those whose end is being recorded are held, too
			t.Errorf("the largest claim was for %d; %d were held, %v given back", n, f.most, f.back)
		}
	})
}

func TestWhatIsGrantedBeyondTheRoomIsGivenBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		f.more = 10
		names := numbered(2000)
		for _, name := range names[:1000] {
			f.set(name, lock.JobDone, 1)
		}
		jobs := func(yield func(Job) bool) {
			keys(names[:1000]...)(yield)
			time.Sleep(time.Minute)
			keys(names[1000:]...)(yield)
		}
		time.AfterFunc(time.Minute+100*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.held != 4 || f.most <= 4 || len(f.back) != 1 {
				t.Errorf("%d held, %d before, %v given back", f.held, f.most, f.back)
			}
		})
		var d done
		if _, err := w.RunAll(t.Context(), jobs, d.takes(time.Hour)); err != nil {
			t.Error(err)
		}
		d.wantOnce(t, 1000)
	})
}

// The ends of works are recorded as collections; one that cannot be is tried again by itself.
func TestWorksThatEndTogetherAreSettledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{Concurrency: 16})
		f.trip = 10 * time.Millisecond
		lost := 0
		f.lose = func(id lock.JobID, _ lock.End) error {
			if id.Key == "job-500" && lost == 0 {
				lost++
				return lock.ErrOutcomeUnknown
			}
			return nil
		}
		var d done
		summary, err := w.RunAll(t.Context(), keys(numbered(1000)...), d.takes(time.Millisecond))
		if err != nil || lost != 1 {
			t.Errorf("%v, %d replies were lost", err, lost)
		}
		wantSummary(t, summary, Summary{Completed: 1000, Attempts: 1000})
		d.wantOnce(t, 1000)
		if n := len(f.settled); sum(f.settled) != 1000 || n > 250 {
			t.Errorf("%d attempts were settled in %d calls", sum(f.settled), n)
		}
	})
}

// The sequence may take its time: what is there begins, and nothing is asked of it before there is room.
func TestSlowSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := newRunAll(t, Config{})
		var begun []time.Duration
		began := time.Now()
		slow := func(yield func(Job) bool) {
			for _, name := range numbered(3) {
				if !yield(Job{Key: name}) {
					return
				}
				time.Sleep(time.Hour)
			}
		}
		_, err := w.RunAll(t.Context(), slow, func(context.Context, Attempt) error {
			begun = append(begun, time.Since(began).Truncate(time.Minute))
			return nil
		})
		if err != nil || r.n != 3 {
			t.Errorf("%d results, %v", r.n, err)
		}
		if want := []time.Duration{0, time.Hour, 2 * time.Hour}; !slices.Equal(begun, want) {
			t.Errorf("begun after %v, want %v", begun, want)
		}
	})
}

func TestEndlessSequenceEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newRunAll(t, Config{})
		cause := errors.New("deploy")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, cause)
		defer cancel()
		var d done
		taken := 0
		summary, err := w.RunAll(ctx, endless(&taken), d.takes(7*time.Second))
		wantIs(t, err, cause)
		if d.now != 0 || f.held != 0 {
			t.Errorf("%d works go on, %d grants are left", d.now, f.held)
		}
		if summary.Completed < 16*500 || summary.Interrupted > maxTaken || summary.Jobs() != taken || r.n != taken {
			t.Errorf("of %d jobs, with %d results: %v", taken, r.n, summary)
		}
		for id, job := range f.records {
			if job.State == lock.JobRunning || job.State == lock.JobFailed && job.Attempt != 0 {
				t.Errorf("%v: %v, %d attempts", id, job.State, job.Attempt)
			}
		}
		var unfinished *UnfinishedError
		if !errors.As(err, &unfinished) || unfinished.Cause != cause {
			t.Errorf("error %v", err)
		}
	})
}

// Much is claimed ahead when the context ends: it is given back as a collection.
func TestInterruptedBeforeTheyBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, f, _ := newRunAll(t, Config{Concurrency: 4})
		f.trip = 10 * time.Millisecond
		var n atomic.Int64
		taken := 0
		summary, err := w.RunAll(ctx, endless(&taken), func(ctx context.Context, _ Attempt) error {
			if n.Add(1) > 1000 {
				time.AfterFunc(100*time.Millisecond, cancel)
				<-ctx.Done()
				return nil // done all the same
			}
			time.Sleep(time.Millisecond)
			return nil
		})
		wantIs(t, err, context.Canceled)
		if summary.Completed != 1004 || summary.Attempts != 1004 {
			t.Errorf("%+v", summary)
		}
		if len(f.back) != 1 || f.back[0] < 10 || f.held != 0 {
			t.Errorf("%v given back, %d left", f.back, f.held)
		}
	})
}

func TestRunAllWaitsForItsWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w, f, _ := newRunAll(t, Config{})
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		summary, err := w.RunAll(ctx, keys("a"), func(ctx context.Context, _ Attempt) error {
			time.Sleep(time.Minute) // does not look at its context
			return context.Cause(ctx)
		})
		if took := time.Since(began); took != time.Minute+2*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		wantIs(t, err, context.Canceled)
		wantSummary(t, summary, Summary{Interrupted: 1, Attempts: 1})
		if job := f.record(lock.JobID{Key: "a"}); job.Attempt != 0 {
			t.Errorf("%+v", job)
		}
	})
}

func TestRunAllAlreadyCancelledSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("deploy")
		cancel(cause)
		w, f, r := newRunAll(t, Config{})
		summary, err := w.RunAll(ctx, keys("a", "b"), never)
		wantIs(t, err, cause)
		if summary != (Summary{}) || len(f.calls) > 0 || r.n > 0 {
			t.Errorf("%+v, %v claims, %d results", summary, f.calls, r.n)
		}
	})
}

func TestSameJobTwiceIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := newRunAll(t, Config{})
		var d done
		summary, err := w.RunAll(t.Context(), keys("a", "b", "a", "a", "b"), d.takes(time.Second))
		if err != nil {
			t.Error(err)
		}
		d.wantOnce(t, 2)
		wantSummary(t, summary, Summary{Completed: 2, CompletedElsewhere: 3, Attempts: 2})
		if len(r.byKey["a"]) != 3 || r.byKey["a"][0].Outcome != Completed {
			t.Errorf("%v", r.byKey)
		}
	})
}

func TestRunsOfOneKeyFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{})
		var order []string
		at := 0
		work := func(_ context.Context, a Attempt) error {
			if at++; at > 1 {
				t.Error("two runs of one key at the same time")
			}
			time.Sleep(time.Second)
			at--
			order = append(order, a.Job.Run.Name)
			return nil
		}
		jobs := slices.Values([]Job{{"a", Once("1")}, {"a", Once("2")}, {"a", Once("3")}})
		if _, err := w.RunAll(t.Context(), jobs, work); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(order) != "[1 2 3]" {
			t.Errorf("%v", order)
		}
		for id, n := range f.claimed {
			if n != 1 {
				t.Errorf("%v was claimed %d times", id, n)
			}
		}
	})
}

func TestRunAllLongerThanMaxWait(t *testing.T) {
	for _, tt := range []struct {
		wait, took time.Duration
		claims     int
	}{{NoWait, time.Millisecond, 1}, {time.Minute, time.Minute + time.Millisecond, 25}} {
		synctest.Test(t, func(t *testing.T) {
			w, f, r := newRunAll(t, Config{MaxWait: tt.wait})
			f.hold("held", time.Hour, true)
			began := time.Now()
			summary, err := w.RunAll(t.Context(), keys("held", "free"), succeed)
			if took := time.Since(began); took > tt.took+time.Millisecond || took < tt.took {
				t.Errorf("MaxWait %v: after %v", tt.wait, took)
			}
			wantIs(t, err, lock.ErrHeld)
			wantSummary(t, summary, Summary{Completed: 1, HeldElsewhere: 1, Attempts: 1})
			r.outcome(t, "held")
			if n := f.claimed[lock.JobID{Key: "held"}]; n > tt.claims {
				t.Errorf("MaxWait %v: claimed %d times", tt.wait, n)
			}
		})
	}
}

// After an attempt of one's own the delay is no wait for another.
func TestNoWaitWaitsForTheOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{MaxWait: NoWait, RetryDelay: func(Attempt, error) time.Duration { return time.Minute }})
		f.hold("held", time.Hour, true)
		summary, err := w.RunAll(t.Context(), keys("held", "fails once"), func(_ context.Context, a Attempt) error {
			return []error{errWork, nil}[a.Number-1]
		})
		wantIs(t, err, lock.ErrHeld)
		wantSummary(t, summary, Summary{Completed: 1, HeldElsewhere: 1, Attempts: 2})
	})
}

// A dead process's job is claimed as soon as its lease is over.
func TestDeadHoldersJobIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{})
		began := time.Now()
		for i := range 100 {
			f.hold(fmt.Sprintf("job-%d", i), time.Duration(i+1)*time.Second/2, false)
		}
		_, err := w.RunAll(t.Context(), keys(numbered(100)...), func(_ context.Context, a Attempt) error {
			var i int
			_, _ = fmt.Sscanf(a.Job.Key, "job-%d", &i)
			if late := time.Since(began) - time.Duration(i+1)*time.Second/2; late > 2*firstPause {
				t.Errorf("%v was taken over %v late", a.Job, late)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if n := len(f.calls); n > 2000 {
			t.Errorf("%d claims", n)
		}
	})
}

func TestLostLeaseIsClaimedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{})
		summary, err := w.RunAll(t.Context(), keys("a"), func(ctx context.Context, a Attempt) error {
			if a.Number == 1 {
				f.take("a", time.Second)
				<-ctx.Done()
				if context.Cause(ctx) != lock.ErrLeaseLost {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				return context.Cause(ctx)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, summary, Summary{Completed: 1, Attempts: 2})
	})
}

// The reply to a Done is lost: the record says that it is done, by this very attempt.
func TestUnknownOutcomeIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newRunAll(t, Config{})
		f.lose = func(lock.JobID, lock.End) error { return lock.ErrOutcomeUnknown }
		var d done
		summary, err := w.RunAll(t.Context(), keys(numbered(50)...), d.takes(0))
		if err != nil || r.n != 50 {
			t.Errorf("%d results, %v", r.n, err)
		}
		d.wantOnce(t, 50)
		wantSummary(t, summary, Summary{Completed: 50, Attempts: 50})
	})
}

func TestRunAllGoesOnAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		troubles := 0
		w, f, _ := newRunAll(t, Config{Handlers: Handlers{OnError: func(_ Job, err error) {
			troubles++
			wantIs(t, err, lock.ErrUnavailable)
		}}})
		over := time.Now().Add(time.Minute)
		f.fail = func(lock.JobClaim) error {
			if time.Now().Before(over) {
				return fmt.Errorf("OOM: %w", lock.ErrUnavailable)
			}
			return nil
		}
		var d done
		if _, err := w.RunAll(t.Context(), keys(numbered(1000)...), d.takes(time.Millisecond)); err != nil {
			t.Error(err)
		}
		d.wantOnce(t, 1000)
		if troubles < 10 || troubles > 60 {
			t.Errorf("told %d times in a minute", troubles)
		}
		if late := time.Since(over); late > 15*time.Second {
			t.Errorf("went on %v after it", late)
		}
	})
}

// Redis does not answer at all: each claim is bounded, so that what comes late has most of its lease left.
func TestClaimIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w, f, _ := newRunAll(t, Config{TTL: 3 * time.Second})
		f.trip = time.Hour
		troubles := 0
		w.cfg.Handlers.OnError = func(_ Job, err error) { troubles++ }
		_, err := w.RunAll(ctx, keys("a"), never)
		wantIs(t, err, context.DeadlineExceeded)
		if troubles < 10 || troubles > 60 {
			t.Errorf("told %d times in a minute", troubles)
		}
	})
}

func TestWhatNoRetryMendsEndsRunAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, _ := newRunAll(t, Config{})
		f.fail = func(c lock.JobClaim) error {
			if c.ID.Key == "job-500" {
				return errRefused
			}
			return nil
		}
		taken := 0
		var d done
		summary, err := w.RunAll(t.Context(), endless(&taken), d.takes(time.Second))
		wantIs(t, err, errRefused)
		if summary.Unknown == 0 || summary.Interrupted == 0 || f.held != 0 {
			t.Errorf("%+v, %d held", summary, f.held)
		}
	})
}

func TestForeignDataIsOneJobsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newRunAll(t, Config{})
		f.fail = func(c lock.JobClaim) error {
			if c.ID.Key == "job-5" {
				return lock.ErrCorruptState
			}
			return nil
		}
		summary, err := w.RunAll(t.Context(), keys(numbered(10)...), succeed)
		wantIs(t, err, lock.ErrCorruptState)
		wantSummary(t, summary, Summary{Completed: 9, Unknown: 1, Attempts: 9})
		if r.outcome(t, "job-5") != 0 {
			t.Error("not unknown")
		}
	})
}

func TestSequenceThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f, r := newRunAll(t, Config{})
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
			if f.held != 0 || r.outcome(t, "a") != Interrupted {
				t.Errorf("%d held, %v", f.held, r.byKey)
			}
		}()
		_, _ = w.RunAll(t.Context(), func(yield func(Job) bool) {
			yield(Job{Key: "a"})
			time.Sleep(time.Second)
			panic("boom")
		}, untilEnded)
	})
}

// A slow handler ends what is claimed, not what memory there is.
func TestSlowHandlersHoldUpClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *Worker
		var f *fakeRedis
		n := 0
		w, f, _ = newRunAll(t, Config{Handlers: Handlers{OnDone: func(Attempt) {
			if n++; n == 1 {
				time.Sleep(time.Hour)
				f.mu.Lock()
				defer f.mu.Unlock()
				if done := sum(f.calls); done < 100 || done > maxWaiting {
					t.Errorf("%d claimed while a handler was busy for an hour", done)
				}
			}
		}}})
		summary, err := w.RunAll(t.Context(), keys(numbered(5000)...), succeed)
		if err != nil || n != 5000 {
			t.Errorf("OnDone was called %d times, %v", n, err)
		}
		wantSummary(t, summary, Summary{Completed: 5000, Attempts: 5000})
	})
}

// Status events are those of Run.
func TestRunAllTellsItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{}
		w, f, _ := newRunAll(t, Config{RetryDelay: HandOver, MaxWait: time.Hour})
		w.cfg.Handlers = c.handlers()
		w.cfg.StatusLevel = status.Normal
		f.hold("a", time.Second, false)
		_, err := w.RunAll(t.Context(), keys("a"), func(_ context.Context, a Attempt) error {
			return []error{nil, nil, errWork, nil}[a.Number]
		})
		if err != nil {
			t.Error(err)
		}
		wantCalls(t, c, `locked by "other"`, "Work was not completed, trying to reacquire lock for attempt #1", "acquired #2", "failed #2: boom",
			"Work was not completed, trying to reacquire lock for attempt #2", "acquired #3", "done #3", "result completed 3")
	})
}

func TestRunAllBadArguments(t *testing.T) {
	w, _, _ := newRunAll(t, Config{})
	var none context.Context
	_, err := w.RunAll(none, nil, nil)
	if err == nil || err.Error() != "worker: ctx is nil\nworker: jobs is nil\nworker: work is nil" {
		t.Errorf("error %v", err)
	}
	wantIs(t, err, lock.ErrInvalid)
	if _, err := (Config{Concurrency: maxConcurrency + 1}).complete(); err == nil {
		t.Error("too much concurrency is accepted")
	}
}

func TestPauses(t *testing.T) {
	held := func(left time.Duration) lock.JobResult {
		return lock.JobResult{Grant: lock.Result{Err: lock.ErrHeld, TTL: left}}
	}
	early := func(d time.Duration) lock.JobResult {
		return lock.JobResult{Grant: lock.Result{Err: lock.ErrTooEarly}, Job: lock.JobInfo{NotBefore: time.Now().Add(d)}}
	}
	for range 100 {
		for _, tt := range []struct {
			answer   lock.JobResult
			n        int
			min, max time.Duration
		}{
			{held(time.Hour), 1, firstPause * 3 / 4, firstPause * 5 / 4},
			{held(time.Hour), 4, 60 * time.Millisecond, 100 * time.Millisecond},
			{held(time.Hour), 100, lastPause * 3 / 4, lastPause * 5 / 4},
			{held(lock.NoExpiry), 2, 15 * time.Millisecond, 25 * time.Millisecond},
			{held(time.Second), 100, time.Second, time.Second + firstPause},
			{early(time.Second), 1, 990 * time.Millisecond, 1001 * time.Millisecond},
			{early(time.Hour), 1, lastPause, lastPause},
			{early(-time.Hour), 2, 15 * time.Millisecond, 25 * time.Millisecond},
			{early(math.MaxInt64), 1, lastPause, lastPause},
		} {
			if d := pauseAfter(tt.answer, tt.n); d < tt.min || d > tt.max {
				t.Errorf("refusal %d, %v: %v, want %v to %v", tt.n, tt.answer.Grant, d, tt.min, tt.max)
			}
		}
	}
}
