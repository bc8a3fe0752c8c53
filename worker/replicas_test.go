package worker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// TestReplicaThatIsAwayIsSatOut: with lock.Config.Replicas an attempt begins, and its outcome counts, when the replica
// has it. Until then the worker goes on trying and tells OnError, as with a Redis out of reach.
func TestReplicaThatIsAwayIsSatOut(t *testing.T) {
	t.Parallel() // each try waits half a second
	for name, cfg := range map[string]worker.Config{"waiting": {}, "not waiting": {MaxWait: worker.NoWait}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary, replicas := redistest.StartReplicated(t, 1)
			c := &cluster{t: t, server: primary, namespace: primary.Namespace(t), replicas: 1}
			a := c.memberWith(primary.Client(t), "a", cfg)
			ctx := bounded(t)
			replicas[0].Stop()
			w := newWork()
			ended := a.run(ctx, job, w.f)
			wantUnreplicated(t, a)
			replicas[0].Continue()
			if first := receive(t, w.begun); first.Number != 1 {
				t.Errorf("attempt %d: those that were not replicated were counted", first.Number)
			}
			replicas[0].Stop()
			w.end <- nil
			wantUnreplicated(t, a)
			replicas[0].Continue()
			wantEnd(t, ended, worker.Completed)
			if info, err := a.State(ctx, job); err != nil || info.State != lock.JobDone || info.Attempt != 1 {
				t.Errorf("State = %+v, %v", info, err)
			}
		})
	}
}

func wantUnreplicated(t *testing.T, m *member) {
	t.Helper()
	if err := receive(t, m.trouble); !errors.Is(err, lock.ErrNotReplicated) {
		t.Errorf("OnError: %v", err)
	}
	for len(m.trouble) > 0 {
		<-m.trouble
	}
}

// TestReplicasWaitEndsWithTheContext: nobody waits for a replica that does not come back.
func TestWaitForReplicasEndsWithTheContext(t *testing.T) {
	t.Parallel()       // as above
	c := newCluster(t) // without replicas
	c.replicas = 1
	a := c.member("a", worker.Config{})
	ctx, cancel := context.WithCancelCause(bounded(t))
	ended := a.run(ctx, job, never)
	wantUnreplicated(t, a)
	enough := errors.New("enough")
	cancel(enough)
	wantEnd(t, ended, worker.Interrupted, enough)
}
