package torture

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "what is done to whom, and which work fails; 0: another one each time")
	durationFlag = flag.Duration("duration", 0, "for all faults together, but at least one short round of each; 0: none")
	faultFlag    = flag.String("fault", "all", "all, or the faults whose names contain this; several with commas")
	reportFlag   = flag.String("report", "", "a file to write what came of it to, as Markdown")
	keepFlag     = flag.String("keep", "", "where to keep what is left of rounds with violations; default: in the temporary folder")
)

func TestMain(m *testing.M) {
	if code, is := beProcess(); is {
		os.Exit(code)
	}
	if code, is := beVictim(); is {
		os.Exit(code)
	}
	if code, is := beCrew(); is {
		os.Exit(code)
	}
	redis.SetLogger(silence{})
	redistest.Main(m)
}

// The shortest and the longest time for which a fault goes on in one round.
const (
	shortest = 3 * time.Second
	longest  = 10 * time.Second
	around   = 4 * time.Second // what a round takes beside
)

func TestTorture(t *testing.T) {
	if *durationFlag == 0 {
		t.Skip("takes a -duration: see make torture")
	}
	chosen := choose(t)
	fmt.Printf("torture: seed %d, %d faults, %v\n", seed(), len(chosen), *durationFlag)
	keep := keepIn(seed())
	var rows []row
	began := time.Now()
	for n, f := range chosen {
		t.Run(f.name, func(t *testing.T) {
			share := *durationFlag / time.Duration(len(chosen))
			rounds := 1 + int(share/(longest+around))
			load := min(max(share/time.Duration(rounds)-around, shortest), longest)
			r := row{fault: f}
			for ; r.rounds < rounds; r.rounds++ {
				one := seed() + uint64(n)*1_000_000 + uint64(r.rounds)*1000
				t.Run(fmt.Sprintf("seed %d", one), func(t *testing.T) {
					dir := filepath.Join(keep, fmt.Sprintf("%s-%d", strings.ReplaceAll(f.name, " ", "-"), one))
					v := newRound(t, f, one, os.Args[0], dir).run(load)
					for _, x := range v.violations {
						t.Errorf("%s: %s", x.check, x.text)
					}
					if len(v.violations) > 0 {
						t.Errorf("seed %d; what is left: %s", seed(), dir)
					}
					r.verdict.add(v)
				})
			}
			if r.verdict.operations == 0 && !t.Failed() {
				t.Skip("no round could be run: see there why")
			}
			long := time.Duration(rounds)*load > longest // enough for all that is asked of a fault
			if f.stale && long && r.verdict.stale == 0 {
				t.Error("the ledger had no stale write to refuse: this fault does not do what it is there for")
			}
			for _, word := range f.says {
				if long && !r.verdict.said[word] {
					t.Errorf("no error said %s: this fault does not do what it is there for", word)
				}
			}
			for _, p := range []string{"G3", "G5"} {
				if r.verdict.judged[p] == 0 && (long || p == "G3") {
					t.Errorf("%s could not have been found broken", p)
				}
			}
			rows = append(rows, r)
		})
	}
	publish(t, &report.torture, tortureSection(rows, time.Since(began)))
	_ = os.Remove(keep) // if nothing is in it
}

func choose(t *testing.T) []fault {
	t.Helper()
	var chosen []fault
	for _, f := range faults {
		for want := range strings.SplitSeq(*faultFlag, ",") {
			if want == "all" || strings.Contains(f.name, strings.TrimSpace(want)) {
				chosen = append(chosen, f)
				break
			}
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("no fault is called %q", *faultFlag)
	}
	return chosen
}

// keepIn returns the folder for what is left of rounds with violations.
func keepIn(seed uint64) string {
	dir := *keepFlag
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, fmt.Sprintf("torture-%d", seed))
}
