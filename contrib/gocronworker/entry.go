package gocronworker

import (
	"context"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockingworker/lockingworker/internal/tick"
	"github.com/lockingworker/lockingworker/worker"
)

// entry is a job of one scheduler.
type entry struct {
	task     Task
	job      gocron.Job
	schedule schedule
	refused  error
	ready    chan struct{} // closed when these are known: a scheduler may be quicker than NewJob

	mu    sync.Mutex
	known time.Time // what gocron said at the last tick that the next one would be
}

func (e *entry) begin(job gocron.Job) error {
	defer close(e.ready)
	e.job = job
	e.schedule, e.refused = scheduleOf(job)
	if e.task.Run != nil {
		e.refused = nil // then ticks are when they come
	}
	return e.refused
}

// run is what gocron calls at each tick. What it returns is the job's error to gocron.
func (e *entry) run(ctx context.Context) error {
	<-e.ready
	if e.refused != nil {
		return e.refused
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := e.result(ctx)
	if e.task.OnResult != nil {
		e.task.OnResult(r)
	}
	return r.Err
}

func (e *entry) result(ctx context.Context) Result {
	at, following := e.tick(e.task.Now())
	r := Result{Tick: at, Job: worker.Job{Key: e.task.Key}}
	switch {
	case at.IsZero():
		r.Err = ErrNoTick
		return r
	case e.task.Run != nil:
		r.Job.Run = e.task.Run(at)
	default:
		r.Job.Run = tick.Run(at, following)
	}
	r.Outcome, r.Err = e.task.Worker.Run(tick.With(ctx, at), r.Job, e.task.Work)
	return r
}
