package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/contrib/workerprom"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// service is one replica.
type service struct {
	set    settings
	rdb    *redis.Client
	locker *lock.Locker
	worker *worker.Worker
	log    *zap.Logger
	http   *http.Server
	ending context.Context // of the healthy
	end    context.CancelFunc
	counts counts
}

// counts are what became of the periods.
type counts struct{ completed, elsewhere, interrupted, other int }

func (c counts) String() string {
	return fmt.Sprintf("completed=%d elsewhere=%d interrupted=%d other=%d", c.completed, c.elsewhere, c.interrupted, c.other)
}

// drain is how long requests may take that are under way when the service ends.
const drain = 5 * time.Second

// newService sends nothing yet: it starts also while Redis is away.
func newService(rdb *redis.Client, set settings, log *zap.Logger) (*service, error) {
	metrics := workerprom.New()
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	locker, err := metrics.Locker(rdb, lock.Config{Namespace: set.namespace, Logger: log})
	if err != nil {
		return nil, err
	}
	w, err := metrics.Worker(locker, worker.Config{Logger: log}, "reports")
	if err != nil {
		_ = locker.Close()
		return nil, err
	}
	s := &service{set: set, rdb: rdb, locker: locker, worker: w, log: log}
	s.ending, s.end = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showReport)
	mux.HandleFunc("GET /healthz", s.showHealth)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return s, nil
}

// serve answers requests and makes reports until ctx ends, and ends in good order.
func (s *service) serve(ctx context.Context) error {
	defer func() { _ = s.locker.Close() }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.set.addr)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			stop(err)
		}
	}()
	context.AfterFunc(ctx, s.end)
	fmt.Printf("Listening on http://%s\n", listener.Addr())

	s.makeReports(ctx) // returns when the attempt that it had has been given back
	select {
	case <-time.After(s.set.linger):
	case <-served: // it has failed
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err = s.http.Shutdown(bounded)
	<-served
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return err
}

// makeReports has a report made in each period, here or by another replica, until ctx ends.
func (s *service) makeReports(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		outcome, err := s.worker.Run(ctx, s.job(now), s.makeReport)
		switch outcome {
		case worker.Completed:
			s.counts.completed++
		case worker.CompletedElsewhere:
			s.counts.elsewhere++
		case worker.Interrupted:
			s.counts.interrupted++
		default:
			s.counts.other++
			s.log.Error("no report in this period", zap.Error(err))
		}
		next := now.Add(s.set.every - time.Duration(now.UnixNano())%s.set.every) // as worker.Every counts
		_ = pause(ctx, time.Until(next))
	}
}

// job is the report of the period that a time is in.
func (s *service) job(now time.Time) worker.Job {
	return worker.Job{Key: "report", Run: worker.Every(s.set.every, now)}
}

// makeReport is the work: it takes its time, and fails now and then.
func (s *service) makeReport(ctx context.Context, _ worker.Attempt) error {
	if err := pause(ctx, s.set.work); err != nil {
		return err
	}
	if rand.Float64() < s.set.fail {
		return errors.New("the report's data is not there yet")
	}
	return nil
}

// pause lets time pass, and returns ctx's cause if that ended earlier.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patience is how long a request waits for Redis.
const patience = time.Second

// showHealth tells whether this replica should be sent requests. It is no reason to start it anew, which would not bring Redis back.
func (s *service) showHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if s.ending.Err() != nil {
		http.Error(w, "ending", http.StatusServiceUnavailable)
		return
	}
	if err := s.rdb.Ping(ctx).Err(); err != nil {
		s.log.Warn("redis does not answer", zap.Error(err))
		http.Error(w, "redis does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// report is what is shown of the current period.
type report struct {
	Key     string `json:"key"`
	Run     string `json:"run"`
	State   string `json:"state"`
	Owner   string `json:"owner,omitempty"`
	Attempt int    `json:"attempt"`
	Fence   int64  `json:"fence,string"` // larger than the integers that readers of JSON keep exactly
	Cause   string `json:"cause,omitempty"`
}

func (s *service) showReport(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	info, err := s.worker.State(ctx, s.job(time.Now()))
	if err != nil {
		s.log.Warn("the report's state could not be read", zap.Error(err))
		http.Error(w, "redis does not answer", http.StatusServiceUnavailable)
		return
	}
	text, err := json.Marshal(report{
		info.ID.Key, info.ID.Run, info.State.String(), info.Owner, info.Attempt, info.Fence, info.Cause,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "%s\n", text)
}
