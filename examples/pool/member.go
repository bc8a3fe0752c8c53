package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// member is one of the processes.
type member struct {
	Number      int
	Redis       string
	Pool        string // the jobs' run
	Jobs        int
	Concurrency int
	Work        time.Duration
	Lease       time.Duration
}

func (m member) main() int {
	ctx, stop := demo.ChildContext()
	defer stop()
	if err := m.run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "process %d: %v\n", m.Number, err)
		return 1
	}
	return 0
}

// run has all of the jobs done, by this process or another one. When ctx ends, so do the works, and what has not begun is
// given back.
func (m member) run(ctx context.Context) error {
	client, err := demo.Connect(m.Redis)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = locker.Close() }()
	w, err := worker.New(locker, worker.Config{
		TTL: m.Lease, Concurrency: m.Concurrency,
		Handlers: worker.Handlers{
			OnLost: func(a worker.Attempt) { _ = m.tell(lost, a.Job) },
			OnError: func(job worker.Job, err error) {
				if job.Key != "" && errors.Is(err, lock.ErrOutcomeUnknown) {
					_ = m.tell(lost, job)
				}
			},
		},
	})
	if err != nil {
		return err
	}
	_, err = w.RunAll(ctx, jobs(m.Pool, m.Jobs), m.work)
	return err
}

// jobs is the same sequence in every process. It could as well come from a database, page by page. That a job is done has to
// be remembered for longer than any of the processes takes to come to it.
func jobs(pool string, n int) iter.Seq[worker.Job] {
	return func(yield func(worker.Job) bool) {
		for i := range n {
			if !yield(worker.Job{Key: fmt.Sprintf("%s/%d", pool, i), Run: worker.Run{Name: pool, Retention: time.Hour}}) {
				return
			}
		}
	}
}

// work takes its time, and then says what it did.
func (m member) work(ctx context.Context, a worker.Attempt) error {
	select {
	case <-time.After(m.Work):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return m.tell(did, a.Job)
}

// What is told of a job.
const (
	did  = "did"
	lost = "lost" // the lease, or Redis, before it was known to be recorded what came of the work: it may be done again
)

// tell writes a line for the parent's ledger, in one piece.
func (m member) tell(what string, job worker.Job) error {
	_, err := fmt.Fprintf(os.Stdout, "process %d %s %s\n", m.Number, what, job.Key)
	return err
}
