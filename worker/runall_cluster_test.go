package worker_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// tenants are n jobs.
func tenants(n int) iter.Seq[worker.Job] {
	return func(yield func(worker.Job) bool) {
		for i := range n {
			if !yield(worker.Job{Key: fmt.Sprintf("tenant-%d", i), Run: worker.Once("run")}) {
				return
			}
		}
	}
}

// ledger is how often each job was worked on.
type ledger struct {
	mu    sync.Mutex
	times map[string]int
}

func (l *ledger) work(_ context.Context, a worker.Attempt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times == nil {
		l.times = make(map[string]int)
	}
	l.times[a.Job.Key]++
	return nil
}

func (l *ledger) wantOnce(t *testing.T, n int) {
	t.Helper()
	if len(l.times) != n {
		t.Errorf("%d jobs were worked on, want %d", len(l.times), n)
	}
	for key, times := range l.times {
		if times != 1 {
			t.Errorf("%s was worked on %d times", key, times)
		}
	}
}

func TestWorkersShareTheirJobs(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		c := newCluster(t)
		shareJobs(t, func(owner string) *member { return c.member(owner, worker.Config{}) })
	})
	t.Run("cluster", func(t *testing.T) { // in 64 shards
		redis := redistest.StartCluster(t, redistest.Real)
		c := &cluster{t: t, namespace: redis.Namespace(t)}
		shareJobs(t, func(owner string) *member { return c.memberWith(redis.Client(t), owner, worker.Config{}) })
	})
}

// shareJobs has four workers do a thousand jobs, some of which fail at first.
func shareJobs(t *testing.T, member func(owner string) *member) {
	const jobs, workers = 1000, 4
	ctx := bounded(t)
	var l ledger
	var total worker.Summary
	var wg sync.WaitGroup
	summaries := make([]worker.Summary, workers)
	for i := range summaries {
		m := member(fmt.Sprint("w", i))
		wg.Go(func() {
			var err error
			if summaries[i], err = m.RunAll(ctx, tenants(jobs), func(ctx context.Context, a worker.Attempt) error {
				if a.Number == 1 && strings.HasSuffix(a.Job.Key, "0") {
					return errWork
				}
				return l.work(ctx, a)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range summaries {
		if s.Done() != jobs || s.Jobs() != jobs {
			t.Errorf("%+v", s)
		}
		total.Completed += s.Completed
		total.Attempts += s.Attempts
	}
	if total.Completed != jobs || total.Attempts != jobs+jobs/10 {
		t.Errorf("%d completed in %d attempts", total.Completed, total.Attempts)
	}
	l.wantOnce(t, jobs)
}

// A Run in the queue is served before a RunAll, which does not wait in it; and a RunAll is told when it has done.
func TestRunAllBesideRun(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	summary := make(chan worker.Summary, 1)
	go func() {
		s, err := b.RunAll(ctx, func(yield func(worker.Job) bool) { yield(job) }, never)
		if err != nil {
			t.Error(err)
		}
		summary <- s
	}()
	if holder := receive(t, b.waits); holder != "a" {
		t.Errorf("held by %q", holder)
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	if s := receive(t, summary); s != (worker.Summary{CompletedElsewhere: 1}) {
		t.Errorf("%+v", s)
	}
}

// Some replies to claims and settlements are lost: nothing is worked on twice, and nothing counted twice.
func TestRunAllThroughLostReplies(t *testing.T) {
	const jobs = 300
	c := newCluster(t)
	ctx := bounded(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	m := c.memberWith(client, "a", worker.Config{TTL: 10 * time.Second, Concurrency: 4})
	var sent atomic.Int64
	lost := proxy.DropReplies(func(command []string) bool {
		return strings.EqualFold(command[0], "evalsha") && sent.Add(1)%6 == 0
	}, 5, redistest.ThenCut)
	var l ledger
	summary, err := m.RunAll(ctx, tenants(jobs), func(ctx context.Context, a worker.Attempt) error {
		if a.Number != 1 {
			t.Errorf("%v: attempt %d", a.Job, a.Number)
		}
		return l.work(ctx, a)
	})
	if err != nil {
		t.Error(err)
	}
	if summary != (worker.Summary{Completed: jobs, Attempts: jobs}) {
		t.Errorf("%+v", summary)
	}
	select {
	case <-lost.Done():
	default:
		t.Error("too few replies were lost")
	}
	l.wantOnce(t, jobs)
}

// What was claimed and not begun is free at once when the context ends, and does not count.
func TestInterruptedRunAllLeavesNothingBehind(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	m := c.member("a", worker.Config{TTL: time.Minute, Concurrency: 4})
	begun := make(chan struct{}, 4)
	_, err := m.RunAll(ctx, tenants(100), func(ctx context.Context, _ worker.Attempt) error {
		if begun <- struct{}{}; len(begun) == cap(begun) {
			cancel()
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err == nil {
		t.Error("no error")
	}
	for info, err := range m.locker.Jobs().List(t.Context(), lock.JobQuery{}) {
		if err != nil || info.Attempt != 0 || info.State != lock.JobAbsent || info.TTL != 0 {
			t.Errorf("%+v, %v", info, err)
		}
	}
}
