package gocronworker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-co-op/gocron/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// exampleLocker is a Locker on a Redis of its own. Programs write
//
//	locker, err := lock.New(redis.NewClient(options), lock.Config{})
func exampleLocker() (*lock.Locker, func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		panic(err)
	}
	return locker, func() {
		_ = locker.Close()
		_ = client.Close()
		server.Close()
	}
}

// Every replica of a service has this. Every night at three one of them sends the report; if it fails, the next one tries.
func Example() {
	locker, stop := exampleLocker()
	defer stop()
	w, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}
	results := make(chan gocronworker.Result)
	report := gocronworker.Task{
		Worker: w,
		Key:    "report",
		Work: func(ctx context.Context, a worker.Attempt) error {
			fmt.Println("report of", gocronworker.Tick(ctx).Format("15:04"))
			return nil
		},
		OnResult: func(r gocronworker.Result) { results <- r },
	}

	for range 2 { // replicas
		s, err := gocron.NewScheduler(gocron.WithLocation(time.UTC))
		if err != nil {
			panic(err)
		}
		job, err := gocronworker.NewJob(s, gocron.CronJob("0 3 * * *", false), report, gocron.WithSingletonMode(gocron.LimitModeReschedule))
		if err != nil {
			panic(err)
		}
		s.Start()
		if err := job.RunNow(); err != nil { // as it would be called at three: it is the last night's
			panic(err)
		}
		r := <-results
		fmt.Println(r.Outcome, r.Err)
		if err := s.Shutdown(); err != nil { // what runs is interrupted, and handed over
			panic(err)
		}
	}
	// Output:
	// report of 03:00
	// completed <nil>
	// completed-elsewhere <nil>
}

// The work is tried every ten minutes until it is done, and then no more on that day.
func ExampleTask_run() {
	task := gocronworker.Task{Run: worker.Daily}
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

// For jobs that stay as they are, gocron's own way: one scheduler at a time runs a job, and none again for two seconds.
func ExampleLocker() {
	locker, stop := exampleLocker()
	defer stop()
	jobs, err := gocronworker.NewLocker(locker, gocronworker.LockerConfig{
		AtLeast: 2 * time.Second,
		OnError: func(name string, err error) { fmt.Println(name, err) },
	})
	if err != nil {
		panic(err)
	}
	s, err := gocron.NewScheduler(gocron.WithDistributedLocker(jobs))
	if err != nil {
		panic(err)
	}
	ran := make(chan bool)
	_, err = s.NewJob(gocron.CronJob("* * * * * *", true), gocron.NewTask(func() { ran <- true }), gocron.WithName("tidy"))
	if err != nil {
		panic(err)
	}
	s.Start()
	fmt.Println(<-ran)

	_, err = jobs.Lock(context.Background(), "tidy") // as another scheduler does
	fmt.Println(errors.Is(err, lock.ErrHeld))
	if err := errors.Join(s.Shutdown(), jobs.Close(context.Background())); err != nil {
		panic(err)
	}
	// Output:
	// true
	// true
}

// One scheduler runs all jobs, and another one when that is gone.
func ExampleElector() {
	locker, stop := exampleLocker()
	defer stop()
	elected := make(chan bool, 2)
	elector, err := gocronworker.NewElector(locker, gocronworker.ElectorConfig{
		TTL:      10 * time.Second,
		OnChange: func(leads bool) { elected <- leads },
	})
	if err != nil {
		panic(err)
	}
	s, err := gocron.NewScheduler(gocron.WithDistributedElector(elector))
	if err != nil {
		panic(err)
	}
	s.Start()

	fmt.Println(<-elected, elector.IsLeader(context.Background()))
	if err := errors.Join(s.Shutdown(), elector.Close(context.Background())); err != nil {
		panic(err)
	}
	fmt.Println(<-elected, elector.IsLeader(context.Background()))
	// Output:
	// true <nil>
	// false gocronworker: not the leader
}
