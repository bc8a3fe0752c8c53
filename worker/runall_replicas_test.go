package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// TestRunAllSitsOutAReplicaThatIsAway: jobs begin, and are done, when the replica has it. What it has not is claimed, or
// settled, again; no work is repeated, no attempt counted twice.
func TestRunAllSitsOutAReplicaThatIsAway(t *testing.T) {
	t.Parallel() // each try waits half a second
	const jobs = 8
	primary, replicas := redistest.StartReplicated(t, 1)
	c := &cluster{t: t, server: primary, namespace: primary.Namespace(t), replicas: 1}
	a := c.memberWith(primary.Client(t), "a", worker.Config{Concurrency: jobs, TTL: time.Minute})
	ctx := bounded(t)
	var l ledger
	begun, end := make(chan worker.Attempt, jobs), make(chan struct{})
	replicas[0].Stop()
	summary := make(chan worker.Summary, 1)
	go func() {
		s, err := a.RunAll(ctx, tenants(jobs), func(ctx context.Context, a worker.Attempt) error {
			begun <- a
			<-end
			return l.work(ctx, a)
		})
		if err != nil {
			t.Error(err)
		}
		summary <- s
	}()
	wantUnreplicated(t, a)
	if len(begun) > 0 {
		t.Error("a work has begun, and no replica has its grant")
	}
	replicas[0].Continue()
	for range jobs {
		if first := receive(t, begun); first.Number != 1 {
			t.Errorf("%v is attempt %d: those that were not replicated were counted", first.Job, first.Number)
		}
	}
	replicas[0].Stop()
	close(end)
	for range 2 { // it is tried again
		wantUnreplicated(t, a)
	}
	if len(summary) > 0 {
		t.Error("RunAll has returned, and no replica has its outcomes")
	}
	replicas[0].Continue()
	if s := receive(t, summary); s != (worker.Summary{Completed: jobs, Attempts: jobs}) {
		t.Errorf("%+v", s)
	}
	l.wantOnce(t, jobs)
	for job := range tenants(jobs) {
		if info, err := a.State(ctx, job); err != nil || info.State != lock.JobDone || info.Attempt != 1 {
			t.Errorf("State = %+v, %v", info, err)
		}
	}
}
