package workerotel_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/lockingworker/lockingworker/contrib/workerotel"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// The spans of a run are in one trace. Here they stay in memory; programs have an exporter.
func Example() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))

	locker, err := lock.New(rdb, lock.Config{Tracer: workerotel.New(provider)})
	if err != nil {
		panic(err)
	}
	defer locker.Close()
	reports, err := worker.New(locker, worker.Config{})
	if err != nil {
		panic(err)
	}
	_, err = reports.Run(context.Background(), worker.Job{Key: "nightly-report"}, func(context.Context, worker.Attempt) error { return nil })
	if err != nil {
		panic(err)
	}
	for _, s := range spans.GetSpans() { // in the order in which they ended
		fmt.Println(s.Name)
	}
	// Output:
	// Jobs.Await
	// acquire
	// work
	// Jobs.Settle
	// settle
	// run
}
