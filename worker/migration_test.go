package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// TestEndIsRecordedWhenItsSlotHasMoved: the slot of the job's shard is half-way for
// longer than the lease when the work ends. The lease is kept, so the work is not
// done again: its end is recorded as soon as the slot has arrived.
func TestEndIsRecordedWhenItsSlotHasMoved(t *testing.T) {
	t.Parallel()
	redis := redistest.StartCluster(t, redistest.Own)
	const ttl = time.Second
	for _, tt := range []struct {
		name string
		end  error
		want worker.Outcome
	}{
		{"done", nil, worker.Completed},
		{"exhausted", worker.Permanent(errWork), worker.Exhausted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := bounded(t)
			c := &cluster{t: t, namespace: redis.Namespace(t)}
			locker, err := lock.New(redis.Client(t), lock.Config{Namespace: c.namespace, Shards: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = locker.Close() })
			w, err := worker.New(locker, worker.Config{TTL: ttl, Handlers: worker.Handlers{OnError: func(_ worker.Job, err error) {
				if strings.Contains(err.Error(), "could not be recorded") {
					t.Error(err)
				}
			}}})
			if err != nil {
				t.Fatal(err)
			}
			key := "{" + c.namespace + ":0}:locks"
			half := make(chan *redistest.Migration, 1)
			moved := make(chan error, 1)
			go func() {
				m := <-half
				if m == nil {
					moved <- errors.New("the slot is not on its way")
					return
				}
				select {
				case <-time.After(3 * ttl):
				case <-ctx.Done():
				}
				moved <- m.Finish(ctx)
			}()
			var attempts atomic.Int64
			outcome, err := w.Run(ctx, job, func(ctx context.Context, _ worker.Attempt) error {
				if attempts.Add(1) == 1 {
					half <- halfMoved(ctx, t, redis, key)
				}
				return tt.end
			})
			if outcome != tt.want || (err == nil) != (tt.end == nil) || attempts.Load() != 1 {
				t.Errorf("Run = %v, %v after %d attempts, want %v after one", outcome, err, attempts.Load(), tt.want)
			}
			if err := receive(t, moved); err != nil {
				t.Error(err)
			}
		})
	}
}

// halfMoved moves some keys of a slot to another master, and leaves it so; nil
// if it could not.
func halfMoved(ctx context.Context, t *testing.T, redis *redistest.Cluster, key string) *redistest.Migration {
	t.Helper()
	to := redis.Masters()[0]
	if to.Addr() == redis.MasterOf(key).Addr() {
		to = redis.Masters()[1]
	}
	m, err := redis.BeginMigration(ctx, redis.Slot(key), to)
	if err == nil {
		err = m.Move(ctx, 2)
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	return m
}
