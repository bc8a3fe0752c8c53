package cronworker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/contrib/cronworker"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

// cluster is several processes, as far as Redis can tell: each has its own client, Locker and Cron.
type cluster struct {
	t         *testing.T
	server    *redistest.Server
	namespace string
	working   atomic.Int32 // never more than one
	results   chan result
}

// result is what came of a tick in one of them.
type result struct {
	who string
	cronworker.Result
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	return &cluster{t: t, server: server, namespace: server.Namespace(t), results: make(chan result, 10_000)}
}

// member is a process.
type member struct {
	cluster *cluster
	name    string
	worker  *worker.Worker
	cron    *cron.Cron
	tasks   *cronworker.Tasks
}

func (c *cluster) member(name string, cfg worker.Config, options ...cron.Option) *member {
	c.t.Helper()
	return c.memberWith(c.server.Client(c.t), name, cfg, options...)
}

// memberThrough is one whose Redis is behind a proxy.
func (c *cluster) memberThrough(proxy *redistest.Proxy, name string, cfg worker.Config, options ...cron.Option) *member {
	c.t.Helper()
	o := c.server.Options()
	o.Addr = proxy.Addr()
	client := redis.NewClient(o)
	c.t.Cleanup(func() { _ = client.Close() })
	return c.memberWith(client, name, cfg, options...)
}

func (c *cluster) memberWith(client *redis.Client, name string, cfg worker.Config, options ...cron.Option) *member {
	c.t.Helper()
	locker, err := lock.New(client, lock.Config{Namespace: c.namespace, Owner: name})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = locker.Close() })
	if cfg.RetryDelay == nil {
		cfg.RetryDelay = worker.HandOver
	}
	w, err := worker.New(locker, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	scheduler := cron.New(options...)
	m := &member{cluster: c, name: name, worker: w, cron: scheduler, tasks: cronworker.New(scheduler)}
	c.t.Cleanup(m.stop)
	return m
}

func (m *member) stop() {
	m.cluster.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if err := m.tasks.Stop(ctx); err != nil {
		m.cluster.t.Errorf("%s: Stop: %v", m.name, err)
	}
}

// task is work whose results the test is sent. It fails the test if it is not the only one of its job.
func (m *member) task(work worker.Func) cronworker.Task {
	return cronworker.Task{
		Worker: m.worker,
		Key:    "job",
		Work: func(ctx context.Context, a worker.Attempt) error {
			if n := m.cluster.working.Add(1); n != 1 {
				m.cluster.t.Errorf("%d work at a time", n)
			}
			defer m.cluster.working.Add(-1)
			return work(ctx, a)
		},
		OnResult: func(r cronworker.Result) { m.cluster.results <- result{m.name, r} },
	}
}

func (m *member) schedule(s cron.Schedule, t cronworker.Task) cron.EntryID {
	m.cluster.t.Helper()
	id, err := m.tasks.Schedule(s, t)
	if err != nil {
		m.cluster.t.Fatal(err)
	}
	return id
}

// rare is a period that does not end while a test runs.
const rare = 100_000 * time.Hour

// grid is the multiples of a period, which may be shorter than a second.
type grid time.Duration

func (g grid) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(g)).Add(time.Duration(g))
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(bound):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
