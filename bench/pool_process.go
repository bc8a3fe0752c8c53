package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// poolVariable makes this program one of a pool's processes; it holds its poolSpec.
const poolVariable = "LOCKBENCH_POOL"

// A poolSpec says what a process of a pool does.
type poolSpec struct {
	Contender string        `json:"contender"`
	Addr      string        `json:"addr"`
	Number    int           `json:"number"`
	Jobs      int           `json:"jobs"`
	File      string        `json:"file"` // to which each job's work appends a line
	TTL       time.Duration `json:"ttl"`
	Pause     time.Duration `json:"pause"` // after it has appended, so that somebody can be killed in it
}

// poolReady is what a process says when it can begin.
const poolReady = "ready\n"

// poolConcurrency is how many jobs a process works on at a time.
const poolConcurrency = worker.DefaultConcurrency

// A poolReport is what a process tells when it is at its end.
type poolReport struct {
	Trips int    `json:"trips"` // round trips to Redis
	Error string `json:"error"`
}

// A poolProcess is the inside of one.
type poolProcess struct {
	poolSpec
	rdb  *redis.Client
	file *os.File
}

// runPool says that it is ready, waits for a line, does the jobs, and reports.
func runPool(text string) int {
	var s poolSpec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (s poolSpec) run() error {
	file, err := os.OpenFile(s.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	trips := newTripCounter()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, Dialer: trips.dial, ContextTimeoutEnabled: true})
	defer func() { _ = rdb.Close() }()
	p := poolProcess{s, rdb, file}
	do := map[string]func(context.Context) error{nameRunAll: p.runAll, nameRun: p.eachRun, nameRedislock: p.redislock}[s.Contender]

	ctx := context.Background()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(poolReady); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	var report poolReport
	if err := do(ctx); err != nil {
		report.Error = err.Error()
	}
	report.Trips = trips.most()
	return json.NewEncoder(os.Stdout).Encode(report)
}

// work is one job's: one write, which the system makes whole.
func (p *poolProcess) work(ctx context.Context, key string, attempt int) error {
	if _, err := fmt.Fprintf(p.file, "%s %d %d\n", key, p.Number, attempt); err != nil {
		return err
	}
	if p.Pause > 0 {
		return sleep(ctx, p.Pause)
	}
	return nil
}

func (p *poolProcess) worker() (*lock.Locker, *worker.Worker, error) {
	l, err := lock.New(p.rdb, lock.Config{Namespace: "bench", Owner: fmt.Sprintf("process-%d", p.Number)})
	if err != nil {
		return nil, nil, err
	}
	w, err := worker.New(l, worker.Config{TTL: p.TTL})
	return l, w, err
}

// runOf is the run of each job. It is remembered, as the markers of the rival are.
var runOf = worker.Once("bench")

func (p *poolProcess) runAll(ctx context.Context) error {
	l, w, err := p.worker()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	names := resources(p.Jobs)
	_, err = w.RunAll(ctx, func(yield func(worker.Job) bool) {
		for _, name := range names {
			if !yield(worker.Job{Key: name, Run: runOf}) {
				return
			}
		}
	}, func(ctx context.Context, a worker.Attempt) error { return p.work(ctx, a.Job.Key, a.Number) })
	return err
}

func (p *poolProcess) eachRun(ctx context.Context) error {
	l, w, err := p.worker()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	return p.each(func(key string) (bool, error) {
		_, err := w.Run(ctx, worker.Job{Key: key, Run: runOf}, func(ctx context.Context, a worker.Attempt) error {
			return p.work(ctx, key, a.Number)
		})
		return err == nil, err
	})
}

// redislock does what its users do: a marker says that a job is done, and is looked at before and behind the lock. Jobs that
// another has are come back to.
func (p *poolProcess) redislock(ctx context.Context) error {
	client := redislock.New(p.rdb)
	return p.each(func(key string) (bool, error) {
		marker := "done:" + key
		if n, err := p.rdb.Exists(ctx, marker).Result(); err != nil || n == 1 {
			return true, err
		}
		l, err := client.Obtain(ctx, key, p.TTL, nil)
		if errors.Is(err, redislock.ErrNotObtained) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer func() { _ = l.Release(ctx) }()
		if n, err := p.rdb.Exists(ctx, marker).Result(); err != nil || n == 1 {
			return true, err
		}
		if err := p.work(ctx, key, 1); err != nil {
			return false, err
		}
		return true, p.rdb.Set(ctx, marker, "1", 0).Err()
	})
}

// each has f do every job, as many at a time as RunAll does, in an order of its own; again, a little later, what was not
// done.
func (p *poolProcess) each(f func(key string) (done bool, err error)) error {
	todo := resources(p.Jobs)
	for len(todo) > 0 {
		rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		left := make([]bool, len(todo))
		var next atomic.Int64
		var g errgroup.Group
		for range poolConcurrency {
			g.Go(func() error {
				for {
					i := int(next.Add(1)) - 1
					if i >= len(todo) {
						return nil
					}
					done, err := f(todo[i])
					if err != nil {
						return err
					}
					left[i] = !done
				}
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		all := len(todo)
		i := -1
		todo = slices.DeleteFunc(todo, func(string) bool { i++; return !left[i] })
		if len(todo) > 0 && len(todo) == all {
			time.Sleep(redislockPoll)
		}
	}
	return nil
}
