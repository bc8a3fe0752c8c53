package sim

import (
	"bytes"
	"cmp"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/variant"
)

var (
	seedFlag    = flag.Uint64("seed", 1, "the first seed")
	seedsFlag   = flag.Int("seeds", 0, "how many seeds; 0: as many as a test should take")
	lengthFlag  = flag.Duration("length", time.Minute, "for how long processes begin calls, in the time of the simulation")
	workersFlag = flag.Int("workers", 20, "how many processes there are at a time")
	strictFlag  = flag.Bool("strict", false, "simulate in the strict build, in several processes; broken variants and repetitions too")
	firstFlag   = flag.Bool("first", false, "end after the first seed that has violations")
	logFlag     = flag.Bool("log", false, "write down what happens")
)

func seeds() int { return cmp.Or(*seedsFlag, usualSeeds) }

func TestSimulation(t *testing.T) {
	if *strictFlag {
		t.Skip("TestStrictSimulation does it")
	}
	s := settings{workers: *workersFlag, length: *lengthFlag}
	var log bytes.Buffer
	if *logFlag {
		s.log = &log // not to a file: that would let others run
		defer func() { _, _ = log.WriteTo(os.Stdout) }()
	}
	for n := range seeds() {
		w := simulate(t, *seedFlag+uint64(n), s)
		t.Logf("trace %016x %d\n%v", w.trace.Sum64(), len(w.violations), w)
		if len(w.violations) > 0 {
			t.Errorf("seed %d has %d violations", w.seed, len(w.violations))
			if *firstFlag {
				break
			}
		}
	}
}

func TestStrictSimulation(t *testing.T) {
	if !*strictFlag {
		t.Skip("see make sim")
	}
	binary := variant.Build(t, strictly...)
	began := time.Now()
	outputs, failed := simulateStrictly(t, binary, *workersFlag, split(*seedFlag, seeds(), *lengthFlag)...)
	took := time.Since(began)
	for _, out := range outputs {
		switch {
		case strings.Contains(out, "FAIL"):
			t.Error(out)
		case *logFlag:
			t.Log(out)
		}
	}
	seen := 0
	for _, out := range outputs {
		seen += len(tracesIn(out))
	}
	if failed == 0 && seen != seeds() {
		t.Errorf("%d seeds were simulated", seen)
	}
	total := time.Duration(seeds()) * *lengthFlag
	t.Logf("%d seeds of %v with %d workers: %v in %v, %.0f s a second; %d of %d processes found violations",
		seeds(), *lengthFlag, *workersFlag, total, took.Round(time.Second), total.Seconds()/took.Seconds(), failed, len(outputs))
}

// A seed does the same again, to the last byte that its server was sent, whatever
// its process has simulated before.
func TestSeedsAreRepeatable(t *testing.T) {
	if !*strictFlag {
		t.Skip("see make sim")
	}
	const n = 12
	binary := variant.Build(t, strictly...)
	together, _ := simulateStrictly(t, binary, *workersFlag, part{*seedFlag, n, time.Minute})
	want := tracesIn(together[0])
	if len(want) != n {
		t.Fatalf("%d seeds:\n%s", len(want), together[0])
	}
	var alone []part
	for i := range n {
		alone = append(alone, part{*seedFlag + uint64(i), 1, time.Minute})
	}
	outputs, _ := simulateStrictly(t, binary, *workersFlag, alone...)
	for i, out := range outputs {
		if got := tracesIn(out); len(got) != 1 || got[0] != want[i] {
			t.Errorf("seed %d: %q, and among others %q", alone[i].seed, got, want[i])
		}
	}
	again, _ := simulateStrictly(t, binary, *workersFlag, part{*seedFlag, n, time.Minute})
	if got := tracesIn(again[0]); !slices.Equal(got, want) {
		t.Errorf("first %q,\nthen %q", want, got)
	}
	t.Logf("%d seeds, three times each: %q", n, want)
}
