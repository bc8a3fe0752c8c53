package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// history is what the workers have reported.
type history struct {
	workers   map[int64]int     // who was granted which fence
	granted   map[int]time.Time // attempt → its first grant
	failed    map[int]time.Time // attempt → its failure
	completed int
	stopped   bool // somebody was interrupted
}

func newHistory() *history {
	return &history{workers: map[int64]int{}, granted: map[int]time.Time{}, failed: map[int]time.Time{}}
}

func (h *history) add(r report) {
	switch r.Event {
	case eventAcquired:
		h.workers[r.Fence] = r.Worker
		if _, again := h.granted[r.Attempt]; !again { // it may have been given back
			h.granted[r.Attempt] = r.Time
		}
	case eventFailed:
		h.failed[r.Attempt] = r.Time
	case eventCompleted:
		h.completed++
	case eventInterrupted:
		h.stopped = true
	}
}

// handovers returns how long after each failure the next attempt began, shortest first.
func (h *history) handovers() []time.Duration {
	var times []time.Duration
	for attempt, failed := range h.failed {
		if granted, ok := h.granted[attempt+1]; ok {
			times = append(times, granted.Sub(failed))
		}
	}
	slices.Sort(times)
	return times
}

// summary is the last line.
type summary struct {
	outcome           outcome
	attempts          int
	executions        int
	winner            int
	workers           int
	handover, longest time.Duration
	elapsed           time.Duration
	redis             string
}

type outcome string

const (
	completed   outcome = "completed"
	exhausted   outcome = "exhausted"
	interrupted outcome = "interrupted"
	broken      outcome = "broken"
)

func (o outcome) exitStatus() int {
	switch o {
	case completed:
		return 0
	case exhausted:
		return 3
	default:
		return 1
	}
}

// summarize joins what Redis remembers of the job with what the workers have reported.
func summarize(job lock.JobInfo, h *history) summary {
	s := summary{outcome: broken, attempts: job.Attempt, executions: len(h.workers)}
	switch {
	case h.completed > 1: // never: it is what all this is for
	case job.State == lock.JobDone:
		s.outcome, s.winner = completed, h.workers[job.Fence]
	case job.State == lock.JobExhausted:
		s.outcome = exhausted
	case h.stopped:
		s.outcome = interrupted
	}
	if times := h.handovers(); len(times) > 0 {
		s.handover, s.longest = median(times), times[len(times)-1]
	}
	return s
}

// median takes times in their order.
func median(times []time.Duration) time.Duration {
	middle := len(times) / 2
	if len(times)%2 == 1 {
		return times[middle]
	}
	return (times[middle-1] + times[middle]) / 2
}

func (s summary) String() string {
	return fmt.Sprintf("summary: outcome=%s attempts=%d executions=%d winner=%d workers=%d handover=%s handover_max=%s elapsed=%s redis=%s",
		s.outcome, s.attempts, s.executions, s.winner, s.workers,
		millis(s.handover, 10), millis(s.longest, 10), millis(s.elapsed, 1), s.redis)
}

// millis writes a duration in ms, whatever its size, rounded to 1/parts of one.
func millis(d time.Duration, parts float64) string {
	rounded := d.Round(time.Duration(float64(time.Millisecond) / parts))
	return strconv.FormatFloat(rounded.Seconds()*1000, 'g', 15, 64) + "ms"
}
