package gocronworker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

// cluster is several processes, as far as Redis can tell: each has its own client, Locker and scheduler.
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
	gocronworker.Result
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	return &cluster{t: t, server: server, namespace: server.Namespace(t), results: make(chan result, 10_000)}
}

// locker is that of another process.
func (c *cluster) locker(name string) *lock.Locker {
	c.t.Helper()
	return c.lockerOn(c.server.Client(c.t), name)
}

// lockerThrough is one whose Redis is behind a proxy.
func (c *cluster) lockerThrough(proxy *redistest.Proxy, name string) *lock.Locker {
	c.t.Helper()
	o := c.server.Options()
	o.Addr = proxy.Addr()
	return c.lockerOn(clientWith(c.t, o), name)
}

func clientWith(t *testing.T, o *redis.Options) *redis.Client {
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (c *cluster) lockerOn(client *redis.Client, name string) *lock.Locker {
	c.t.Helper()
	locker, err := lock.New(client, lock.Config{Namespace: c.namespace, Owner: name})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = locker.Close() })
	return locker
}

// member is a process.
type member struct {
	cluster *cluster
	name    string
	worker  *worker.Worker
	gocron.Scheduler
}

func (c *cluster) member(name string, cfg worker.Config, options ...gocron.SchedulerOption) *member {
	c.t.Helper()
	return c.memberWith(c.locker(name), name, cfg, options...)
}

func (c *cluster) memberWith(locker *lock.Locker, name string, cfg worker.Config, options ...gocron.SchedulerOption) *member {
	c.t.Helper()
	if cfg.RetryDelay == nil {
		cfg.RetryDelay = worker.HandOver
	}
	w, err := worker.New(locker, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return &member{cluster: c, name: name, worker: w, Scheduler: scheduler(c.t, options...)}
}

func scheduler(t *testing.T, options ...gocron.SchedulerOption) gocron.Scheduler {
	t.Helper()
	s, err := gocron.NewScheduler(append([]gocron.SchedulerOption{gocron.WithStopTimeout(bound)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

// task is work whose results the test is sent. It fails the test if it is not the only one of its job.
func (m *member) task(work worker.Func) gocronworker.Task {
	return gocronworker.Task{
		Worker: m.worker,
		Key:    "job",
		Work: func(ctx context.Context, a worker.Attempt) error {
			if n := m.cluster.working.Add(1); n != 1 {
				m.cluster.t.Errorf("%d work at a time", n)
			}
			defer m.cluster.working.Add(-1)
			return work(ctx, a)
		},
		OnResult: func(r gocronworker.Result) { m.cluster.results <- result{m.name, r} },
	}
}

func (m *member) job(definition gocron.JobDefinition, t gocronworker.Task, options ...gocron.JobOption) gocron.Job {
	m.cluster.t.Helper()
	job, err := gocronworker.NewJob(m, definition, t, options...)
	if err != nil {
		m.cluster.t.Fatal(err)
	}
	return job
}

// rare is a schedule that does not tick while a test runs.
const rare = "CRON_TZ=UTC 0 0 29 2 *"

// rarely is a job that does not tick while a test runs, but when it is told to.
func (m *member) rarely(work worker.Func) (tick func()) {
	m.cluster.t.Helper()
	job := m.job(gocron.CronJob(rare, false), m.task(work))
	m.Start()
	return func() {
		m.cluster.t.Helper()
		if err := job.RunNow(); err != nil {
			m.cluster.t.Fatal(err)
		}
	}
}

// nothing is work that succeeds.
func nothing(context.Context, worker.Attempt) error { return nil }

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
