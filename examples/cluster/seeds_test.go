package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// Eight workers, seed by seed. Bounds on time are checked only where a number of seeds is asked for, as nothing else
// should run beside it, nor the race detector:
//
//	CLUSTER_SEEDS=50 go test -count=1 -v -run TestSeeds ./examples/cluster
func TestSeeds(t *testing.T) {
	seeds, measured := 3, false
	if text := os.Getenv("CLUSTER_SEEDS"); text != "" {
		seeds, measured = atoi(t, text), true
	}
	server := redistest.Start(t, redistest.Own)
	outcomes := map[string]int{}
	var medians, longest, elapsed []time.Duration
	for seed := 1; seed <= seeds; seed++ {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			p := start(t, "-workers", "8", "-success", "0.15", "-lock-timeout", "5s",
				"-seed", strconv.Itoa(seed), "-redis", server.URL())
			status, s := p.finish()
			outcomes[fmt.Sprintf("%s after %d", s.outcome, s.attempts)]++
			elapsed = append(elapsed, s.elapsed)
			if s.executions > 1 {
				medians, longest = append(medians, s.handover), append(longest, s.longest)
			}
			winners := count(p.output(), "completed work successfully")
			switch {
			case status == 0 && s.outcome == "completed" && winners == 1 && s.winner > 0:
			case status == 3 && s.outcome == "exhausted" && winners == 0 && s.winner == 0 && s.attempts == 5:
			default:
				t.Errorf("exit status %d, %d winners, %+v", status, winners, s)
			}
			if s.executions > 1 && (s.handover <= 0 || s.longest < s.handover) {
				t.Errorf("hand-overs that took no time: %+v", s)
			}
			if s.attempts > 5 || s.executions != s.attempts {
				t.Errorf("%d attempts, %d executions", s.attempts, s.executions)
			}
			if measured && (s.elapsed >= 3*time.Second || s.longest > 100*time.Millisecond) {
				t.Errorf("too slow: %+v", s)
			}
		})
	}
	t.Logf("%d seeds: %v", seeds, outcomes)
	t.Logf("elapsed:              %v", spread(elapsed))
	t.Logf("median hand-over:     %v", spread(medians))
	t.Logf("longest hand-over:    %v", spread(longest))
	// Of all runs: one may have a single hand-over, which may meet a busy moment. spread has sorted them.
	if measured && len(medians) > 0 && median(medians) > 10*time.Millisecond {
		t.Errorf("median hand-over %v", median(medians))
	}
}

// spread shows the least, the median and the greatest.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	slices.Sort(times)
	return fmt.Sprintf("%v to %v, median %v", times[0], times[len(times)-1], median(times))
}
