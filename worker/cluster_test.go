package worker_test

// The promises on a real Redis: several Lockers, and nothing in between but what the test puts there.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/status/statustest"
	"github.com/lockingworker/lockingworker/worker"
)

var (
	job     = worker.Job{Key: "job", Run: worker.Once("run")}
	errWork = errors.New("boom")
)

// cluster is where the workers of a test meet.
type cluster struct {
	t         *testing.T
	server    *redistest.Server
	namespace string
	replicas  int // lock.Config.Replicas
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	return &cluster{t: t, server: server, namespace: server.Namespace(t)}
}

// member is a worker with a Locker of its own, as another process has.
type member struct {
	*worker.Worker
	locker  *lock.Locker
	status  *statustest.Recorder
	waits   chan string // the holders that it waited for
	trouble chan error
}

func (c *cluster) member(owner string, cfg worker.Config) *member {
	return c.memberWith(c.server.Client(c.t), owner, cfg)
}

func (c *cluster) memberWith(client redis.UniversalClient, owner string, cfg worker.Config) *member {
	c.t.Helper()
	locker, err := lock.New(redistest.LeastPrivileged(c.t, client), lock.Config{Namespace: c.namespace, Owner: owner, Replicas: c.replicas})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = locker.Close() })
	m := &member{locker: locker, status: statustest.New(), waits: make(chan string, 100), trouble: make(chan error, 100)}
	if cfg.RetryDelay == nil {
		cfg.RetryDelay = worker.HandOver
	}
	cfg.StatusLevel = status.Verbose
	cfg.Handlers = worker.Handlers{
		OnStatus: m.status.Record,
		OnLocked: func(_ worker.Job, holder string) { offer(m.waits, holder) },
		OnError:  func(_ worker.Job, err error) { offer(m.trouble, err) },
		OnLost:   cfg.Handlers.OnLost,
	}
	m.Worker, err = worker.New(locker, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// offer never blocks: a handler that did would keep its Run for ever.
func offer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// returned is what a Run returned.
type returned struct {
	outcome worker.Outcome
	err     error
}

// run starts a Run, and returns where its end will be told.
func (m *member) run(ctx context.Context, job worker.Job, work worker.Func) <-chan returned {
	ended := make(chan returned, 1)
	go func() {
		outcome, err := m.Run(ctx, job, work)
		ended <- returned{outcome, err}
	}()
	return ended
}

// work is a Func whose attempts wait to be told what to return.
type work struct {
	begun chan worker.Attempt
	end   chan error
}

func newWork() *work { return &work{make(chan worker.Attempt), make(chan error)} }

func (w *work) f(ctx context.Context, a worker.Attempt) error {
	select {
	case w.begun <- a:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-w.end:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bounded ends a test that would hang.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-bounded(t).Done():
		t.Fatal("nothing happens")
		panic("unreachable")
	}
}

func wantEnd(t *testing.T, ended <-chan returned, outcome worker.Outcome, is ...error) {
	t.Helper()
	r := receive(t, ended)
	if r.outcome != outcome || (r.err == nil) != (len(is) == 0) {
		t.Errorf("Run = %v, %v, want %v", r.outcome, r.err, outcome)
	}
	for _, target := range is {
		if !errors.Is(r.err, target) {
			t.Errorf("error %q is not %q", r.err, target)
		}
	}
}

func never(context.Context, worker.Attempt) error { panic("the work must not begin") }
