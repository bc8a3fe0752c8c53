package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockingworker/lockingworker/worker"
)

// ticks is what was seen of them.
type ticks struct {
	want, processes int
	ready           map[int]bool
	since           time.Time         // ticks count from when all were ready
	seen            []time.Time       // in their order
	attempts, runs  map[time.Time]int // how many began, and how many completed
	latest          map[int]time.Time // the last tick that each process has come to the end of
}

func newTicks(want, processes int) *ticks {
	return &ticks{
		want: want, processes: processes, ready: map[int]bool{},
		attempts: map[time.Time]int{}, runs: map[time.Time]int{}, latest: map[int]time.Time{},
	}
}

// add takes a report that was read at now.
func (t *ticks) add(r report, now time.Time) {
	if r.Event == eventReady {
		if t.ready[r.Process] = true; len(t.ready) == t.processes {
			t.since = now
		}
		return
	}
	at := r.Tick.UTC()
	if len(t.ready) < t.processes || at.Before(t.since) {
		return
	}
	if i, found := slices.BinarySearchFunc(t.seen, at, time.Time.Compare); !found {
		t.seen = slices.Insert(t.seen, i, at)
	}
	switch r.Event {
	case eventBegan:
		t.attempts[at]++
	case eventEnded:
		if r.Outcome == worker.Completed {
			t.runs[at]++
		}
		if at.After(t.latest[r.Process]) {
			t.latest[r.Process] = at
		}
	case eventReady:
	}
}

// enough reports whether every process has come to the end of the last tick that counts, or of a later one.
func (t *ticks) enough() bool {
	if len(t.seen) < t.want || len(t.latest) < t.processes {
		return false
	}
	for _, at := range t.latest {
		if at.Before(t.seen[t.want-1]) {
			return false
		}
	}
	return true
}

// summary is what the program says last.
type summary struct {
	scheduler             string
	processes             int
	ticks, runs, attempts int
	once                  bool // each was done once
	elapsed               time.Duration
	redis                 string
}

func (t *ticks) summary() summary {
	s := summary{ticks: t.want, once: true}
	for _, at := range t.seen[:t.want] {
		s.runs += t.runs[at]
		s.attempts += t.attempts[at]
		s.once = s.once && t.runs[at] == 1
	}
	return s
}

// String is the summary's line.
func (s summary) String() string {
	return fmt.Sprintf("summary: scheduler=%s processes=%d ticks=%d runs=%d attempts=%d elapsed=%v redis=%s",
		s.scheduler, s.processes, s.ticks, s.runs, s.attempts, s.elapsed.Round(time.Millisecond), s.redis)
}
