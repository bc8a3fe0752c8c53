package main

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// The summary of a history whose times are known, and what the tests read from it.
func TestSummaryOfHandovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		gaps              []time.Duration // between a failure and the next grant
		handover, longest time.Duration
	}{
		{"none", nil, 0, 0},
		{"one", []time.Duration{205500 * time.Microsecond}, 205500 * time.Microsecond, 205500 * time.Microsecond},
		{"two", []time.Duration{9 * time.Millisecond, time.Millisecond}, 5 * time.Millisecond, 9 * time.Millisecond},
		{"three", []time.Duration{time.Hour, 2 * time.Millisecond, time.Millisecond}, 2 * time.Millisecond, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, now := newHistory(), time.Now()
			h.add(report{Event: eventAcquired, Worker: 1, Attempt: 1, Fence: 1, Time: now})
			for i, gap := range tt.gaps {
				h.add(report{Event: eventFailed, Worker: 1, Attempt: i + 1, Time: now})
				now = now.Add(gap)
				h.add(report{Event: eventAcquired, Worker: 2, Attempt: i + 2, Fence: int64(i + 2), Time: now})
			}
			s := summarize(lock.JobInfo{State: lock.JobDone, Fence: 1, Attempt: len(tt.gaps) + 1}, h)
			s.redis = "embedded"
			got, err := parseSummary([]string{s.String()})
			if err != nil || got.handover != tt.handover || got.longest != tt.longest || got.winner != 1 ||
				got.executions != len(tt.gaps)+1 {
				t.Errorf("%s: %+v, %v", s, got, err)
			}
		})
	}
}

// Two that say so are never hidden behind a record that knows one.
func TestTwoWinnersAreBroken(t *testing.T) {
	t.Parallel()
	h := newHistory()
	h.add(report{Event: eventCompleted, Worker: 1})
	h.add(report{Event: eventCompleted, Worker: 2})
	if s := summarize(lock.JobInfo{State: lock.JobDone}, h); s.outcome != broken || s.outcome.exitStatus() != 1 {
		t.Errorf("%s", s)
	}
}
