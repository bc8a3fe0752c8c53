package sim

import (
	"bytes"
	"cmp"
	"flag"
	"os"
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
		}
	}
}

func TestStrictSimulation(t *testing.T) {
	if !*strictFlag {
		t.Skip("see make sim")
	}
	binary := variant.Build(t, strictly...)
	began := time.Now()
	outputs, failed := simulateStrictly(t, binary, *lengthFlag, seedsFrom(*seedFlag, seeds())...)
	took := time.Since(began)
	for _, out := range outputs {
		switch {
		case !strings.HasSuffix(traceIn(out), " 0"):
			t.Error(out)
		case *logFlag:
			t.Log(out)
		}
	}
	total := time.Duration(seeds()) * *lengthFlag
	t.Logf("%d seeds of %v with %d workers: %v in %v, %.0f s a second; %d of them with violations",
		seeds(), *lengthFlag, *workersFlag, total, took.Round(time.Second), total.Seconds()/took.Seconds(), failed)
}

// A seed does the same again, to the last byte that its server was sent.
func TestSeedsAreRepeatable(t *testing.T) {
	if !*strictFlag {
		t.Skip("see make sim")
	}
	binary := variant.Build(t, strictly...)
	seeds := seedsFrom(*seedFlag, 12)
	first, _ := simulateStrictly(t, binary, time.Minute, seeds...)
	second, _ := simulateStrictly(t, binary, time.Minute, seeds...)
	for i, seed := range seeds {
		if a, b := traceIn(first[i]), traceIn(second[i]); a == "" || a != b {
			t.Errorf("seed %d: first %q, then %q", seed, a, b)
		}
		t.Logf("seed %d: %s, twice", seed, traceIn(first[i]))
	}
}
