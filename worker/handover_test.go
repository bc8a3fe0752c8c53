package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/worker"
)

func TestOneWorksAndEverybodyLearnsIt(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	attempt := receive(t, w.begun)
	if attempt.Number != 1 || attempt.Max != 5 || attempt.Last() || attempt.Fence <= 0 || attempt.Job != job {
		t.Errorf("attempt %+v", attempt)
	}
	endB := b.run(ctx, job, never)
	if holder := receive(t, b.waits); holder != "a" {
		t.Errorf("b waits for %q", holder)
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)
	wantEnd(t, c.member("late", worker.Config{}).run(ctx, job, never), worker.CompletedElsewhere)

	if _, err := a.Acquire(ctx, job); !errors.Is(err, worker.ErrDone) {
		t.Errorf("Acquire: %v", err)
	}
	info, err := b.State(ctx, job)
	if err != nil || info.State != lock.JobDone || info.Owner != "a" || info.Attempt != 1 || info.Fence != attempt.Fence {
		t.Errorf("State = %+v, %v", info, err)
	}
	if e, err := b.status.Wait(ctx, status.KindCompletedElsewhere); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
}

func TestFailureHandsOverToWhoWaits(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	wa, wb := newWork(), newWork()
	endA := a.run(ctx, job, wa.f)
	first := receive(t, wa.begun)
	endB := b.run(ctx, job, wb.f)
	receive(t, b.waits)

	wa.end <- errWork
	second := receive(t, wb.begun)
	if second.Number != 2 || second.Fence <= first.Fence {
		t.Errorf("after %+v came %+v", first, second)
	}
	receive(t, a.waits) // a stands behind b
	wb.end <- errWork
	if third := receive(t, wa.begun); third.Number != 3 || third.Fence <= second.Fence {
		t.Errorf("after %+v came %+v", second, third)
	}
	wa.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)

	info, err := a.State(ctx, job)
	if err != nil || len(info.Attempts) != 3 {
		t.Fatalf("State = %+v, %v", info, err)
	}
	for i, want := range []string{"a failed boom", "b failed boom", "a done "} {
		at := info.Attempts[i]
		if got := at.Owner + " " + at.End + " " + at.Cause; got != want {
			t.Errorf("attempt %d: %q, want %q", i+1, got, want)
		}
	}
	if e, err := b.status.Wait(ctx, status.KindNotCompleted); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
}

func TestExhausted(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{MaxAttempts: 2}), c.member("b", worker.Config{MaxAttempts: 2})
	wa, wb := newWork(), newWork()
	endA := a.run(ctx, job, wa.f)
	receive(t, wa.begun)
	endB := b.run(ctx, job, wb.f)
	receive(t, b.waits)
	wa.end <- errors.New("first")
	if !receive(t, wb.begun).Last() {
		t.Error("the second of two is the last")
	}
	wb.end <- errWork
	wantEnd(t, endB, worker.Exhausted, worker.ErrExhausted, errWork)
	r := receive(t, endA)
	var exhausted *worker.ExhaustedError
	if r.outcome != worker.Exhausted || !errors.As(r.err, &exhausted) || exhausted.Attempts != 2 ||
		exhausted.Cause != "boom" || exhausted.Err != nil || exhausted.Job != job {
		t.Errorf("a: %v, %+v", r.outcome, r.err)
	}
	wantEnd(t, c.member("late", worker.Config{MaxAttempts: 2}).run(ctx, job, never), worker.Exhausted, worker.ErrExhausted)

	// A larger maximum lifts it.
	more := c.member("more", worker.Config{MaxAttempts: 3})
	grant, err := more.Acquire(ctx, job)
	if err != nil || grant.Attempt().Number != 3 {
		t.Fatalf("Acquire = %v, %v", grant, err)
	}
	if err := grant.Done(ctx); err != nil {
		t.Error(err)
	}
}

func TestPermanentFailureEndsItForEverybody(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{MaxAttempts: 100})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	receive(t, b.waits)
	w.end <- worker.Permanent(errWork)
	wantEnd(t, endA, worker.Exhausted, errWork)
	wantEnd(t, endB, worker.Exhausted, worker.ErrExhausted)

	if err := b.Reset(ctx, job); err != nil {
		t.Fatal(err)
	}
	if info, err := b.State(ctx, job); err != nil || info.State != lock.JobAbsent || info.Attempt != 0 {
		t.Errorf("after Reset: %+v, %v", info, err)
	}
	endB = b.run(ctx, job, w.f)
	if first := receive(t, w.begun); first.Number != 1 {
		t.Errorf("after Reset: attempt %d", first.Number)
	}
	if err := a.Reset(ctx, job); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("Reset while held: %v", err)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
}

func TestInterruptedHandsOverUncounted(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{MaxAttempts: 1}), c.member("b", worker.Config{MaxAttempts: 1})
	w := newWork()
	deploy := errors.New("deploy")
	ctxA, cancel := context.WithCancelCause(ctx)
	endA := a.run(ctxA, job, w.f)
	first := receive(t, w.begun)
	endB := b.run(ctx, job, w.f)
	receive(t, b.waits)
	cancel(deploy)
	second := receive(t, w.begun)
	wantEnd(t, endA, worker.Interrupted, deploy)
	if second.Number != 1 || second.Fence <= first.Fence {
		t.Errorf("after %+v, given back, came %+v", first, second)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
}

func TestInterruptedWaiterLeavesNothing(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	ctxB, cancel := context.WithCancel(ctx)
	endB := b.run(ctxB, job, never)
	receive(t, b.waits)
	cancel()
	wantEnd(t, endB, worker.Interrupted, context.Canceled, lock.ErrHeld)
	w.end <- errWork // nobody waits: a is next itself
	if second := receive(t, w.begun); second.Number != 2 {
		t.Errorf("attempt %d", second.Number)
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
}

func TestHeldElsewhere(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	grant, err := c.member("a", worker.Config{}).Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	for name, maxWait := range map[string]time.Duration{"at once": worker.NoWait, "soon": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := c.member("b", worker.Config{MaxWait: maxWait})
			wantEnd(t, b.run(ctx, job, never), worker.HeldElsewhere, lock.ErrHeld)
			if holder := receive(t, b.waits); holder != "a" {
				t.Errorf("held by %q", holder)
			}
		})
	}
	if err := grant.GiveBack(ctx); err != nil {
		t.Error(err)
	}
	if info, err := c.member("c", worker.Config{}).State(ctx, job); err != nil || info.Attempt != 0 {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func TestDelayAfterFailureIsKept(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	const delay = 50 * time.Millisecond
	a := c.member("a", worker.Config{RetryDelay: func(worker.Attempt, error) time.Duration { return delay }})
	var begun []time.Time
	outcome, err := a.Run(ctx, job, func(_ context.Context, at worker.Attempt) error {
		if begun = append(begun, time.Now()); at.Number == 1 {
			return errWork
		}
		return nil
	})
	if outcome != worker.Completed || err != nil || len(begun) != 2 {
		t.Fatalf("Run = %v, %v after %d attempts", outcome, err, len(begun))
	}
	if waited := begun[1].Sub(begun[0]); waited < delay {
		t.Errorf("the second attempt began %v after the first, which said %v", waited, delay)
	}
}

func TestRunsOfOneJobExcludeEachOther(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	today := worker.Job{Key: "job", Run: worker.Daily(time.Now())}
	tomorrow := worker.Job{Key: "job", Run: worker.Daily(time.Now().Add(24 * time.Hour))}
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, today, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, tomorrow, w.f)
	receive(t, b.waits)
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	if first := receive(t, w.begun); first.Number != 1 || first.Job != tomorrow {
		t.Errorf("attempt %+v", first)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
	wantEnd(t, a.run(ctx, tomorrow, never), worker.CompletedElsewhere)
}
