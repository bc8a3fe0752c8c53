package cronworker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/contrib/cronworker"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Every replica of a service has this. Every night at three one of them sends the report; if it fails, the next one tries.
func Example() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		panic(err)
	}
	defer locker.Close()
	w, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}

	c := cron.New(cron.WithLocation(time.UTC), cron.WithChain(cron.SkipIfStillRunning(cron.DefaultLogger)))
	tasks := cronworker.New(c)
	id, err := tasks.Add("0 3 * * *", cronworker.Task{
		Worker: w,
		Key:    "report",
		Work: func(ctx context.Context, a worker.Attempt) error {
			fmt.Println("report of", cronworker.Tick(ctx).Format("15:04"))
			return nil
		},
		OnResult: func(r cronworker.Result) { fmt.Println(r.Outcome, r.Err) },
	})
	if err != nil {
		panic(err)
	}
	c.Start()

	// This is what other replicas' ticks come to, and anybody's who starts it by hand: the last night's, once.
	for range 2 {
		c.Entry(id).WrappedJob.Run()
	}
	if err := tasks.Stop(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// report of 03:00
	// completed <nil>
	// completed-elsewhere <nil>
}

// The work is tried every ten minutes until it is done, and then no more on that day.
func ExampleTask_run() {
	task := cronworker.Task{Run: worker.Daily}
	for _, tick := range []time.Time{
		time.Date(2026, 11, 22, 3, 10, 0, 0, time.UTC),
		time.Date(2026, 11, 22, 3, 20, 0, 0, time.UTC),
	} {
		fmt.Println(task.Run(tick).Name)
	}
	// Output:
	// 2026-11-22
	// 2026-11-22
}
