package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// role is what a process is told to be.
type role struct {
	Number    int
	Scheduler string
	Redis     string
	Key       string
	Period    time.Duration
	Success   float64
}

// run returns the exit status of a process.
func (me role) run() int {
	ctx, stop := demo.ChildContext()
	defer stop()
	if err := me.schedule(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "process %d: %v\n", me.Number, err)
		return 1
	}
	return 0
}

// schedule runs ticks until ctx ends.
func (me role) schedule(ctx context.Context) error {
	client, err := demo.Connect(me.Redis)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = locker.Close() }()
	w, err := worker.New(locker, worker.Config{RetryDelay: worker.HandOver})
	if err != nil {
		return err
	}
	start := schedulers[me.Scheduler]
	end, err := start(me, w)
	if err != nil {
		return err
	}
	me.report(report{Event: eventReady})
	<-ctx.Done()
	return end()
}

var errUnlucky = errors.New("no luck this time")

// work is done for a tick.
func (me role) work(tick time.Time, a worker.Attempt) error {
	me.report(report{Event: eventBegan, Tick: tick, Attempt: a.Number})
	if a.Number < 3 && rand.Float64() >= me.Success {
		return errUnlucky
	}
	return nil
}

type event string

const (
	eventReady event = "ready"
	eventBegan event = "began"
	eventEnded event = "ended"
)

// report is a line from a process to its parent.
type report struct {
	Process int            `json:"process"`
	Event   event          `json:"event"`
	Tick    time.Time      `json:"tick"`
	Attempt int            `json:"attempt,omitempty"`
	Outcome worker.Outcome `json:"outcome,omitempty"`
	Text    string         `json:"text,omitempty"`
}

func (me role) report(r report) {
	r.Process = me.Number
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, numbers, times
	}
	_, _ = os.Stdout.Write(append(line, '\n')) // without a parent there is nobody to tell
}

// ended reports what came of a tick.
func (me role) ended(tick time.Time, outcome worker.Outcome, err error) {
	r := report{Event: eventEnded, Tick: tick, Outcome: outcome, Text: outcome.String()}
	if err != nil {
		r.Text += fmt.Sprintf(": %.200v", err)
	}
	me.report(r)
}
