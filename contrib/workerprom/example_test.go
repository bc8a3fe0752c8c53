package workerprom_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/contrib/workerprom"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Two calls are not those of lock and worker; nothing else is different.
func Example() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	metrics := workerprom.New()
	registry := prometheus.NewRegistry() // or prometheus.MustRegister(metrics)
	registry.MustRegister(metrics)
	locker, err := metrics.Locker(rdb, lock.Config{})
	if err != nil {
		panic(err)
	}
	defer locker.Close()
	reports, err := metrics.Worker(locker, worker.Config{}, "reports")
	if err != nil {
		panic(err)
	}

	for range 2 {
		job := worker.Job{Key: "nightly-report", Run: worker.Daily(time.Now())}
		if _, err := reports.Run(context.Background(), job, func(context.Context, worker.Attempt) error { return nil }); err != nil {
			panic(err)
		}
	}
	text, err := testutil.CollectAndFormat(metrics, expfmt.TypeTextPlain, "lockingworker_worker_outcomes_total")
	if err != nil {
		panic(err)
	}
	fmt.Print(string(text)) // as Prometheus reads it
	// Output:
	// # HELP lockingworker_worker_outcomes_total Runs of jobs that ended for this process, by outcome.
	// # TYPE lockingworker_worker_outcomes_total counter
	// lockingworker_worker_outcomes_total{kind="reports",outcome="completed"} 1
	// lockingworker_worker_outcomes_total{kind="reports",outcome="completed-elsewhere"} 1
	// lockingworker_worker_outcomes_total{kind="reports",outcome="exhausted"} 0
	// lockingworker_worker_outcomes_total{kind="reports",outcome="held-elsewhere"} 0
	// lockingworker_worker_outcomes_total{kind="reports",outcome="interrupted"} 0
	// lockingworker_worker_outcomes_total{kind="reports",outcome="unknown"} 0
}
