package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

// run starts the processes, shows what they report until it has seen enough ticks, and ends them.
func (set settings) run() (summary, error) {
	began := time.Now()
	ctx, stop := demo.Context()
	defer stop()
	server, err := demo.FindServer(ctx, *set.redis)
	if err != nil {
		return summary{}, err
	}
	defer server.Close()

	limit := time.Minute + 10*time.Duration(set.ticks)*set.period
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no %d ticks in %v", set.ticks, limit))
	defer cancel()
	crew, err := demo.NewCrew(ctx)
	if err != nil {
		return summary{}, err
	}
	started := 0
	me := role{Scheduler: set.scheduler, Redis: server.URL, Key: "cron-" + rand.Text()[:8], Period: set.period, Success: set.success}
	for me.Number < set.processes {
		me.Number++
		if _, err = crew.Start(me.Number, me); err != nil {
			cancel() // and those that were started leave
			break
		}
		started++
	}
	crew.NoMore()
	fmt.Printf("%d processes, a tick every %v, redis %s\n", started, set.period, server.Name)

	seen := newTicks(set.ticks, set.processes)
	enough := false
	for line := range crew.Lines { // until all have ended
		var r report
		if json.Unmarshal([]byte(line), &r) != nil {
			fmt.Println(line) // not ours: show it all the same
			continue
		}
		fmt.Println(r)
		seen.add(r, time.Now())
		if !enough && seen.enough() {
			enough = true
			cancel()
		}
	}
	for range started {
		p := <-crew.Ended
		if broken := new(exec.ExitError); errors.As(p.Err, &broken) {
			err = errors.Join(err, fmt.Errorf("process %d: %w", p.Number, broken))
		}
	}
	if !enough {
		return summary{}, errors.Join(err, context.Cause(ctx))
	}
	s := seen.summary()
	s.scheduler, s.processes, s.elapsed, s.redis = set.scheduler, set.processes, time.Since(began), server.Name
	return s, err
}

// String returns what is printed.
func (r report) String() string {
	tick := r.Tick.UTC().Format("15:04:05.000")
	switch r.Event {
	case eventReady:
		return fmt.Sprintf("process %d is ready", r.Process)
	case eventBegan:
		return fmt.Sprintf("%s  process %d works, attempt #%d", tick, r.Process, r.Attempt)
	default:
		return fmt.Sprintf("%s  process %d: %s", tick, r.Process, r.Text)
	}
}
