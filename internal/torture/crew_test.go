package torture

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

var (
	movesFlag  = flag.Int("moves", 0, "how often the slot of each of 64 shards moves in TestClusterUnderLoad; 0: a short version with fewer of everything")
	movingFlag = flag.Int("moving", 4, "how many slots are on their way at once")
	killsFlag  = flag.Int("kills", 4, "how many masters are killed, one after another")
)

// TestClusterUnderLoad has many workers in several processes do all that a Locker
// and a Worker can do, on a cluster of three masters with a replica each, in four
// stages:
//
//   - the slot of every shard moves, again and again, each left half-way for at
//     least half a second, one for longer than any lease: condition C holds, so no
//     call may return an error, no lease may be lost, no two grants may overlap,
//     and every job is done once;
//   - masters are killed, every other one after its replica was cut off, so that it
//     loses what it acknowledged: only what falls into that time may be lost, every
//     done that is repeated must be missing on the promoted node, and fences grow;
//   - masters are killed while slots are half-way: one that has to do with neither,
//     and one that a slot is on its way to;
//   - masters are killed whose slots are half-way: what had moved is lost with them,
//     whenever it was written, and the node that was to take them refuses everything
//     until it is told. What is left to check is that fences grow, that the stale
//     settle nothing, and that calls wait for that node.
//
// The whole of it is
//
//	go test -C internal/torture -run TestClusterUnderLoad -v -moves 5 -timeout 20m
func TestClusterUnderLoad(t *testing.T) {
	p := crewPlan{
		seed: cmp.Or(*seedFlag, uint64(time.Now().UnixNano())), shards: 64, crews: 4, hands: 16, keys: 96, held: 250,
		moves: *movesFlag, moving: *movingFlag, kills: *killsFlag, half: 500 * time.Millisecond,
		ttl: 2 * time.Second, failoverTTL: 8 * time.Second,
	}
	if p.moves == 0 {
		p.shards, p.hands, p.keys, p.held, p.moves, p.kills, p.short = 6, 8, 32, 60, 1, 1, true
		p.ttl = time.Second
	}
	cluster := redistest.StartCluster(t, redistest.Own, redistest.NodeTimeout(time.Second))
	fmt.Printf("cluster under load: seed %d, %d workers in %d processes, %d shards\n", p.seed, p.crews*p.hands, p.crews, p.shards)
	var stages []*crewStage
	run := func(name, checked string, ttl time.Duration, inject func(*crewStage)) {
		s := newCrewStage(t, cluster, p, name, checked, ttl)
		s.run(inject)
		stages = append(stages, s)
	}
	run("slots moved", "G1 G3 G4, no error, no lease lost", p.ttl, (*crewStage).moveAll)
	if !t.Failed() {
		run("masters killed", "G3; G1 G4 but for what is lost with a master; no lease lost that was granted before", p.failoverTTL, (*crewStage).killMasters)
	}
	if !t.Failed() && !p.short {
		run("masters killed while slots move", "as before", p.failoverTTL, (*crewStage).killWhileMoving)
	}
	if !t.Failed() && !p.short {
		run("givers killed while their slots move", "G3 G5, no error but of what is lost", p.failoverTTL, func(s *crewStage) {
			s.withoutC = true
			s.killGivers()
		})
	}
	printCrewTable(stages)
}

// A crewPlan is how much is done.
type crewPlan struct {
	seed                             uint64
	shards, crews, hands, keys, held int
	moves, moving, kills             int
	half                             time.Duration // for how long a slot is left half-way, at least
	ttl, failoverTTL                 time.Duration // lease times
	short                            bool
}

// printCrewTable prints what came of the stages, a column each.
func printCrewTable(stages []*crewStage) {
	row := func(name string, cell func(s *crewStage) string) {
		line := "| " + name + " |"
		for _, s := range stages {
			line += " " + cell(s) + " |"
		}
		fmt.Println(line)
	}
	number := func(name string, of func(s *crewStage) int) {
		row(name, func(s *crewStage) string { return fmt.Sprint(of(s)) })
	}
	fmt.Println()
	row("", func(s *crewStage) string { return s.name })
	row("---", func(*crewStage) string { return "---" })
	row("checked", func(s *crewStage) string { return s.checked })
	row("took", func(s *crewStage) string { return s.took.Round(time.Second).String() })
	row("lease time", func(s *crewStage) string { return s.ttl.String() })
	number("moves of a slot", func(s *crewStage) int { return len(s.halves) })
	row("left half-way with", func(s *crewStage) string { return counts(s.moved) })
	row("half-way for", func(s *crewStage) string {
		if len(s.halves) == 0 {
			return "-"
		}
		var sum time.Duration
		for _, d := range s.halves {
			sum += d
		}
		round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
		return fmt.Sprintf("%v to %v, %v in all", round(slices.Min(s.halves)), round(slices.Max(s.halves)), round(sum))
	})
	number("masters killed", func(s *crewStage) int { return len(s.takeovers) })
	row("all shards served again after", func(s *crewStage) string {
		var texts []string
		for _, d := range s.takeovers {
			texts = append(texts, d.Round(10*time.Millisecond).String())
		}
		return strings.Join(texts, ", ")
	})
	row("errors that single commands met", func(s *crewStage) string { return counts(s.verdict.met) })
	number("operations", func(s *crewStage) int { return s.verdict.operations })
	row("of them, and events watched", func(s *crewStage) string { return counts(s.verdict.ops) })
	number("grants", func(s *crewStage) int { return s.verdict.grants })
	row("errors that calls returned", func(s *crewStage) string { return counts(s.verdict.errors) })
	row("errors that a loss explains", func(s *crewStage) string { return counts(s.verdict.excused) })
	row("told to OnError, and retried", func(s *crewStage) string { return counts(s.verdict.told) })
	number("leases held all the time", func(s *crewStage) int { return s.verdict.held })
	number("of them lost", func(s *crewStage) int { return s.verdict.heldLost })
	row("longest gap between their renewals", func(s *crewStage) string { return s.verdict.gap.Round(time.Millisecond).String() })
	row("longest time a process did not run", func(s *crewStage) string { return s.verdict.stalled.Round(time.Millisecond).String() })
	number("job runs settled", func(s *crewStage) int { return s.verdict.runs })
	number("done again", func(s *crewStage) int { return s.verdict.doubled })
	number("dones missing on the promoted node", func(s *crewStage) int { return s.verdict.matched })
	number("overlaps that a loss explains", func(s *crewStage) int { return s.verdict.overlaps })
	number("violations", func(s *crewStage) int { return len(s.verdict.violations) })
	fmt.Println()
}

// counts writes how often there was what.
func counts(of map[string]int) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if n := of[name]; n != 0 {
			texts = append(texts, fmt.Sprintf("%s %d", name, n))
		}
	}
	return cmp.Or(strings.Join(texts, ", "), "none")
}
