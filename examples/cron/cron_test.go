package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/worker"
)

// Three processes, ten ticks: ten runs, though attempts fail.
func TestTenTicksTenRuns(t *testing.T) {
	t.Parallel()
	for _, scheduler := range []string{"gocron", "cron"} {
		t.Run(scheduler, func(t *testing.T) {
			t.Parallel()
			args := []string{"-scheduler", scheduler, "-period", "200ms", "-success", "0.5"}
			t.Run("embedded", func(t *testing.T) {
				t.Parallel()
				testTenTicks(t, scheduler, "embedded", args)
			})
			t.Run("real", func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t, redistest.Own)
				testTenTicks(t, scheduler, server.Addr(), append(args, "-redis", server.URL()))
			})
		})
	}
}

func testTenTicks(t *testing.T, scheduler, redis string, args []string) {
	t.Helper()
	p := demotest.Start(t, args...)
	status, s := p.Finish()
	if status != 0 || s["scheduler"] != scheduler || s["redis"] != redis ||
		s.Int("processes") != 3 || s.Int("ticks") != 10 || s.Int("runs") != 10 || s.Int("attempts") < 10 || s.Duration("elapsed") < 9*200*time.Millisecond {
		t.Errorf("exit status %d, %v", status, s)
	}
	if n := p.Count(`^process \d is ready$`); n != 3 {
		t.Errorf("%d processes were ready", n)
	}
	if errors := p.Errors(); errors != "" {
		t.Errorf("standard error:\n%s", errors)
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-schedule", "cron"}, 2, "-schedule"},
		{[]string{"3"}, 2, `"3"`},
		{[]string{"-scheduler", "crond"}, 2, "-scheduler crond"},
		{[]string{"-processes", "0", "-ticks", "0"}, 2, "-ticks 0"},
		{[]string{"-period", "1ms"}, 2, "-period 1ms"},
		{[]string{"-success", "75"}, 2, "-success 75"},
		{[]string{"-redis", "redis://u:sesame@127.0.0.1:1"}, 1, "redis at 127.0.0.1:1"},
		{[]string{"-help"}, 0, "-period"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			p := demotest.Start(t, tt.args...)
			status, _ := p.Finish()
			if status != tt.status || !strings.Contains(p.Errors(), tt.want) || strings.Contains(p.Errors(), "sesame") {
				t.Errorf("exit status %d, standard error:\n%s", status, p.Errors())
			}
		})
	}
}

// The count itself: a tick that was done twice, or not at all, is noticed.
func TestSummaryCounts(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name         string
		doneBySecond []worker.Outcome // what became of the second tick in processes 1 and 2
		runs         int
		once         bool
	}{
		{"once each", []worker.Outcome{worker.Completed, worker.CompletedElsewhere}, 2, true},
		{"one twice", []worker.Outcome{worker.Completed, worker.Completed}, 3, false},
		{"one never", []worker.Outcome{worker.Exhausted, worker.Exhausted}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := newTicks(2, 2)
			ended := func(process int, tick time.Time, outcome worker.Outcome) {
				if seen.enough() {
					t.Error("enough, too soon")
				}
				seen.add(report{Process: process, Event: eventEnded, Tick: tick, Outcome: outcome}, begin)
			}
			ended(1, begin, worker.Completed) // before all are ready
			seen.add(report{Process: 1, Event: eventReady}, begin)
			ended(1, begin.Add(time.Second), worker.Completed)
			seen.add(report{Process: 2, Event: eventReady}, begin.Add(2*time.Second))
			ended(1, begin.Add(time.Second), worker.Completed) // from before
			first, second := begin.Add(3*time.Second), begin.Add(4*time.Second)
			seen.add(report{Process: 2, Event: eventBegan, Tick: first, Attempt: 1}, begin)
			ended(2, first, worker.Completed)
			ended(1, first, worker.CompletedElsewhere)
			ended(1, second, tt.doneBySecond[0])
			ended(2, second, tt.doneBySecond[1])
			if s := seen.summary(); !seen.enough() || s.ticks != 2 || s.runs != tt.runs || s.once != tt.once || s.attempts != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}
