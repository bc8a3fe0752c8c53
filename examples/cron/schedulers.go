package main

import (
	"context"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/contrib/cronworker"
	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/worker"
)

// schedulers start a process's scheduler, and return what stops it, with the work that it does.
var schedulers = map[string]func(role, *worker.Worker) (stop func() error, err error){
	"gocron": role.gocron,
	"cron":   role.cron,
}

// gocron has a job with a duration, which each process counts from its own start.
func (me role) gocron(w *worker.Worker) (stop func() error, err error) {
	scheduler, err := gocron.NewScheduler()
	if err != nil {
		return nil, err
	}
	_, err = gocronworker.NewJob(scheduler, gocron.DurationJob(me.Period), gocronworker.Task{
		Worker: w,
		Key:    me.Key,
		Work: func(ctx context.Context, a worker.Attempt) error {
			return me.work(gocronworker.Tick(ctx), a)
		},
		OnResult: func(r gocronworker.Result) { me.ended(r.Tick, r.Outcome, r.Err) },
	}, gocron.WithSingletonMode(gocron.LimitModeReschedule))
	if err != nil {
		return nil, err
	}
	scheduler.Start()
	return scheduler.Shutdown, nil
}

// cron has a schedule. Its own, which are made of text, know nothing shorter than a second.
func (me role) cron(w *worker.Worker) (stop func() error, err error) {
	scheduler := cron.New(cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger)))
	tasks := cronworker.New(scheduler)
	_, err = tasks.Schedule(grid(me.Period), cronworker.Task{
		Worker: w,
		Key:    me.Key,
		Work: func(ctx context.Context, a worker.Attempt) error {
			return me.work(cronworker.Tick(ctx), a)
		},
		OnResult: func(r cronworker.Result) { me.ended(r.Tick, r.Outcome, r.Err) },
	})
	if err != nil {
		return nil, err
	}
	scheduler.Start()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return tasks.Stop(ctx)
	}, nil
}

// grid is a cron.Schedule: the multiples of a period.
type grid time.Duration

// Next is the next of them.
func (g grid) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(g)).Add(time.Duration(g))
}
