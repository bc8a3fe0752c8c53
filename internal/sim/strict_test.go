package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/variant"
)

// What the Go runtime decides by chance and by the real clock would make two runs
// of a seed differ: which case of a select is taken, which of two timers of one
// moment is first, where a map begins, when a goroutine has run for too long. In
// the strict build, run on one processor and without collecting garbage but
// between two moments, all that depends on the seed alone.
var strictly = []variant.Edit{
	{File: "GOROOT/src/runtime/rand.go", Old: "var readRandomFailed bool\n", New: `var readRandomFailed bool

var reseeded bool
var reseedState [2]uint64
var reseedMaps uint64 // for all maps: how many were made depends on what is cached

//go:linkname reseed
func reseed(seed uint64) {
	reseeded, reseedState = true, [2]uint64{seed, seed}
	reseedMaps = redraw(0)
}

//go:nosplit
func redraw(n int) uint64 {
	reseedState[n] += 0xa0761d6478bd642f
	hi, lo := math.Mul64(reseedState[n], reseedState[n]^0xe7037ed1a0b428db)
	return hi ^ lo
}

// schedrand is for what shows, which cheaprand is not for alone.
func schedrand() uint32 {
	if reseeded {
		return uint32(redraw(1))
	}
	return cheaprand()
}
`},
	{File: "GOROOT/src/runtime/rand.go", Old: "\tmp := getg().m\n\tc := &mp.chacha8\n",
		New: "\tif reseeded {\n\t\treturn redraw(0)\n\t}\n\tmp := getg().m\n\tc := &mp.chacha8\n"},
	{File: "GOROOT/src/runtime/rand.go", Old: "func rand32() uint32 {\n", New: "func rand32() uint32 {\n\tif reseeded {\n\t\treturn uint32(reseedMaps)\n\t}\n"},
	{File: "GOROOT/src/runtime/rand.go", Old: "func maps_rand() uint64 {\n", New: "func maps_rand() uint64 {\n\tif reseeded {\n\t\treturn reseedMaps\n\t}\n"},
	{File: "GOROOT/src/runtime/select.go", Old: "j := cheaprandn(uint32(norder + 1))", New: "j := uint32(uint64(schedrand()) * uint64(norder+1) >> 32)"},
	{File: "GOROOT/src/runtime/time.go", Old: "t.rand = cheaprand()", New: "t.rand = schedrand()"},
	{File: "GOROOT/src/runtime/rand.go", Old: "for i, c := range startupRand {\n\t\t\tseed[i%len(seed)] ^= c", New: "for i := range startupRand {\n\t\t\tseed[i%len(seed)] ^= byte(i + 1)"},
	{File: "GOROOT/src/runtime/proc.go", Old: "const forcePreemptNS = 10 * 1000 * 1000 // 10ms", New: "const forcePreemptNS = 1 << 60"},
	{File: "lock/clock_linux.go", Old: "if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil", New: "if true || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil"},
	{File: "internal/sim/reseed_test.go", Old: "const strict = false", New: "const strict = true"},
	{File: "internal/sim/reseed_test.go", Old: "import (\n", New: "import (\n\t_ \"unsafe\"\n"},
	{File: "internal/sim/reseed_test.go", Old: "func reseed(uint64) {}", New: "//go:linkname reseed runtime.reseed\nfunc reseed(uint64)"},
}

// A part is what one process of the strict build is to simulate.
type part struct {
	seed   uint64
	seeds  int
	length time.Duration
}

// simulateStrictly runs parts in the strict build, one on each processor, and
// returns what each printed, and how many of them found something.
func simulateStrictly(t *testing.T, binary string, workers int, parts ...part) (outputs []string, failed int) {
	t.Helper()
	outputs = make([]string, len(parts))
	free := make(chan struct{}, max(1, runtime.NumCPU()))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			cmd := exec.Command(binary, "-test.run", "^TestSimulation$", "-test.v", "-test.timeout", "1h",
				"-first", "-seed", fmt.Sprint(p.seed), "-seeds", fmt.Sprint(p.seeds), "-length", p.length.String(), "-workers", fmt.Sprint(workers))
			if *logFlag {
				cmd.Args = append(cmd.Args, "-log")
			}
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=1GiB", "GODEBUG=asyncpreemptoff=1")
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			outputs[i] = string(bytes.TrimSpace(out))
			if err != nil {
				failed++
			}
		})
	}
	wg.Wait()
	return outputs, failed
}

// tracesIn returns the seeds of an output, each with the sum of all that its
// server was sent and has answered, and with how many violations it had.
func tracesIn(output string) []string {
	var traces []string
	for line := range strings.Lines(output) {
		if _, trace, ok := strings.Cut(line, "trace "); ok {
			traces = append(traces, strings.TrimSpace(trace))
		}
	}
	return traces
}

// split shares seeds among processes.
func split(seed uint64, seeds int, length time.Duration) []part {
	size := cmp.Or(min(10, seeds/runtime.NumCPU()), 1)
	var parts []part
	for n := 0; n < seeds; n += size {
		parts = append(parts, part{seed + uint64(n), min(size, seeds-n), length})
	}
	return parts
}
