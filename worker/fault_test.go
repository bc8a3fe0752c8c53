package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/worker"
)

func TestDeadWorkerIsReplaced(t *testing.T) {
	t.Parallel() // it lasts as long as a lease, which is long enough to be renewed on a busy machine
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: time.Second}
	a, b := c.member("a", short), c.member("b", short)
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, w.f)
	receive(t, b.waits)
	if err := a.locker.Close(); err != nil { // renews and releases no more, as if it had died
		t.Fatal(err)
	}
	wantEnd(t, endA, 0, lock.ErrClosed)
	if second := receive(t, w.begun); second.Number != 2 {
		t.Errorf("attempt %d", second.Number)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
	if e, err := b.status.Wait(ctx, status.KindNotCompleted); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
	if info, err := b.State(ctx, job); err != nil || info.Attempts[0].End != "lapsed" {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func TestLeaseIsRenewedWhileTheWorkRuns(t *testing.T) {
	t.Parallel() // as above
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: time.Second}
	a, b := c.member("a", short), c.member("b", short)
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	for range 2 { // b looks again when the lease would be over
		if _, err := b.status.Wait(ctx, status.KindChecking); err != nil {
			t.Fatal(err)
		}
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)
}

func TestStaleHolderCannotSettleForAnother(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: 300 * time.Millisecond}
	a, b := c.member("a", short), c.member("b", worker.Config{})
	stale, err := a.Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.locker.ForceUnlock(ctx, job.Key); err != nil {
		t.Fatal(err)
	}
	grant, err := b.Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.Done(ctx); !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("stale Done: %v", err)
	}
	receive(t, stale.Context().Done())
	if cause := context.Cause(stale.Context()); cause != lock.ErrLeaseLost {
		t.Errorf("stale context: %v", cause)
	}
	if info, err := b.State(ctx, job); err != nil || info.State != lock.JobRunning || info.Owner != "b" {
		t.Errorf("State = %+v, %v", info, err)
	}
	if err := grant.Done(ctx); err != nil {
		t.Error(err)
	}
}

func TestOutageIsSatOut(t *testing.T) {
	t.Parallel() // it lasts more than a second until a Locker says that Redis is out of reach
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := c.memberWith(clientThrough(t, c, proxy), "a", worker.Config{})
	proxy.Refuse(true)
	w := newWork()
	ended := a.run(bounded(t), job, w.f)
	if err := receive(t, a.trouble); !errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("OnError: %v", err)
	}
	proxy.Heal()
	if first := receive(t, w.begun); first.Number != 1 {
		t.Errorf("attempt %d", first.Number)
	}
	w.end <- nil
	wantEnd(t, ended, worker.Completed)
}

func TestDoneWhoseReplyIsLost(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := c.memberWith(clientThrough(t, c, proxy), "a", worker.Config{})
	var loss *redistest.Loss
	outcome, err := a.Run(ctx, job, func(context.Context, worker.Attempt) error {
		loss = proxy.DropReplies(redistest.Named("evalsha", "eval"), 1, redistest.ThenCut)
		return nil
	})
	if outcome != worker.Completed || err != nil {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	receive(t, loss.Done())
	if info, err := a.State(ctx, job); err != nil || info.State != lock.JobDone || info.Attempt != 1 {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func clientThrough(t *testing.T, c *cluster, proxy *redistest.Proxy) *redis.Client {
	t.Helper()
	options := c.server.Options()
	options.Addr = proxy.Addr()
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestWrongPasswordEndsRun(t *testing.T) {
	c := newCluster(t)
	options := c.server.Options()
	options.Username, options.Password = "nobody", "secret"
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	a := c.memberWith(client, "a", worker.Config{})
	outcome, err := a.Run(bounded(t), job, never)
	if outcome != 0 || err == nil || errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	if reported := receive(t, a.trouble); reported != err {
		t.Errorf("OnError: %v, want %v", reported, err)
	}
}

func TestClosedLockerEndsRun(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{MaxWait: time.Hour})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	receive(t, b.waits)
	if err := b.locker.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, endB, 0, lock.ErrClosed)
	wantEnd(t, b.run(ctx, job, never), 0, lock.ErrClosed)
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
}
