package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// TestStallCountsNoAttemptTwice: Redis stands still for ten seconds while one
// works, one waits and one asks; clients have their default options.
func TestStallCountsNoAttemptTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	c := &cluster{t: t, server: server, namespace: server.Namespace(t)}
	short := worker.Config{TTL: 3 * time.Second, MaxAttempts: 9}
	a, b, asks := c.member("a", short), c.member("b", short), c.member("asks", short)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	type start struct {
		number int
		fence  int64
	}
	starts := make(chan start, 100)
	lost := make(chan time.Duration, 100)
	stalled := make(chan struct{})
	var began time.Time
	work := func(ctx context.Context, at worker.Attempt) error {
		starts <- start{at.Number, at.Fence}
		if at.Number > 1 {
			return nil
		}
		<-stalled
		<-ctx.Done()
		lost <- time.Since(began)
		if !errors.Is(context.Cause(ctx), lock.ErrLeaseLost) {
			t.Errorf("the work's context ended with %v", context.Cause(ctx))
		}
		return context.Cause(ctx)
	}
	endA := a.run(ctx, job, work)
	first := receive(t, starts)
	endB := b.run(ctx, job, work)
	receive(t, b.waits)

	stood := redistest.Standstill(t)
	server.Stop()
	began = time.Now()
	close(stalled)
	slowest := time.Duration(0)
	for time.Since(began) < 10*time.Second {
		brief, stop := context.WithTimeout(ctx, 500*time.Millisecond)
		asked := time.Now()
		outcome, err := asks.Run(brief, worker.Job{Key: "another", Run: job.Run}, never)
		slowest = max(slowest, time.Since(asked))
		if outcome != worker.Interrupted {
			t.Errorf("Run returned with %v, %v", outcome, err)
		}
		stop()
	}
	still := stood()
	if slowest > 600*time.Millisecond+still {
		t.Errorf("Run returned after %v; this process stood still for %v", slowest, still)
	}
	if after := receive(t, lost); after > 3*time.Second+still {
		t.Errorf("the work's context ended %v after Redis had stopped, with a lease of 3 s", after)
	}
	server.Continue()
	for _, end := range []<-chan returned{endA, endB} {
		select {
		case r := <-end:
			if r.err != nil || r.outcome != worker.Completed && r.outcome != worker.CompletedElsewhere {
				t.Errorf("Run = %v, %v", r.outcome, r.err)
			}
		case <-ctx.Done():
			t.Fatal("a Run does not return")
		}
	}
	second := receive(t, starts)
	if first.number != 1 || second.number != 2 || second.fence <= first.fence || len(starts) != 0 {
		t.Errorf("attempts %+v, %+v, and %d more", first, second, len(starts))
	}
	info, err := b.State(ctx, job)
	if err != nil || info.State != lock.JobDone || info.Attempt != 2 || len(info.Attempts) != 2 || info.Attempts[0].End != "lapsed" || info.Attempts[1].End != "done" {
		t.Errorf("State = %+v, %v", info, err)
	}
	if info, err := asks.State(ctx, worker.Job{Key: "another", Run: job.Run}); err != nil || info.Attempt != 0 || info.TTL != 0 {
		t.Errorf("of the job that nobody got: %+v, %v", info, err)
	}
}
