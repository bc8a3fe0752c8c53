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

// TestDoneThatNoReplicaHasIsNotCompleted, however long the lease is over: Run settles again until a replica has it, or
// until its context ends.
func TestDoneThatNoReplicaHasIsNotCompleted(t *testing.T) {
	t.Parallel() // each waits for longer than the lease
	begin := func(t *testing.T) (a *member, replica *redistest.Server, w *work, over <-chan struct{}) {
		primary, replicas := redistest.StartReplicated(t, 1)
		c := &cluster{t: t, server: primary, namespace: primary.Namespace(t), replicas: 1}
		lost := make(chan struct{}, 1)
		a = c.memberWith(primary.Client(t), "a", worker.Config{TTL: time.Second, Handlers: worker.Handlers{
			OnLost: func(worker.Attempt) { lost <- struct{}{} },
		}})
		return a, replicas[0], newWork(), lost
	}
	t.Run("until it has", func(t *testing.T) {
		t.Parallel()
		a, replica, w, over := begin(t)
		ended := a.run(bounded(t), job, w.f)
		receive(t, w.begun)
		replica.Stop()
		w.end <- nil
		receive(t, over)
		for range 4 {
			wantUnreplicated(t, a)
		}
		if len(ended) > 0 {
			t.Error("Run has returned, and no replica has its outcome")
		}
		replica.Continue()
		wantEnd(t, ended, worker.Completed)
	})
	t.Run("until the context ends", func(t *testing.T) {
		t.Parallel()
		a, replica, w, over := begin(t)
		ctx, cancel := context.WithCancelCause(bounded(t))
		ended := a.run(ctx, job, w.f)
		receive(t, w.begun)
		replica.Stop()
		w.end <- nil
		receive(t, over)
		for range 4 {
			wantUnreplicated(t, a)
		}
		enough := errors.New("enough")
		cancel(enough)
		wantEnd(t, ended, worker.Interrupted, enough, lock.ErrNotReplicated)
		replica.Continue()
	})
}

func wantUnreplicated(t *testing.T, m *member) {
	t.Helper()
	if err := receive(t, m.trouble); !errors.Is(err, lock.ErrNotReplicated) {
		t.Errorf("OnError: %v", err)
	}
	for len(m.trouble) > 0 { // of the tries since
		if err := receive(t, m.trouble); !errors.Is(err, lock.ErrNotReplicated) {
			t.Errorf("OnError: %v", err)
		}
	}
}

// TestWaitForReplicasEndsWithTheContext: nobody waits for a replica that does not come back.
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
