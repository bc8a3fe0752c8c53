package sim

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
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

//go:linkname reseed
func reseed(seed uint64) { reseeded, reseedState = true, [2]uint64{seed, seed} }

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
	{File: "GOROOT/src/runtime/select.go", Old: "j := cheaprandn(uint32(norder + 1))", New: "j := uint32(uint64(schedrand()) * uint64(norder+1) >> 32)"},
	{File: "GOROOT/src/runtime/time.go", Old: "t.rand = cheaprand()", New: "t.rand = schedrand()"},
	{File: "GOROOT/src/runtime/rand.go", Old: "for i, c := range startupRand {\n\t\t\tseed[i%len(seed)] ^= c", New: "for i := range startupRand {\n\t\t\tseed[i%len(seed)] ^= byte(i + 1)"},
	{File: "GOROOT/src/runtime/proc.go", Old: "const forcePreemptNS = 10 * 1000 * 1000 // 10ms", New: "const forcePreemptNS = 1 << 60"},
	{File: "GOROOT/src/runtime/proc.go", Old: "if pp.schedtick%61 == 0 && !sched.runq.empty() {", New: "if false {"},
	{File: "lock/clock_linux.go", Old: "if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil", New: "if true || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil"},
	{File: "internal/sim/reseed_test.go", Old: "const strict = false", New: "const strict = true"},
	{File: "internal/sim/reseed_test.go", Old: "import (\n", New: "import (\n\t_ \"unsafe\"\n"},
	{File: "internal/sim/reseed_test.go", Old: "func reseed(uint64) {}", New: "//go:linkname reseed runtime.reseed\nfunc reseed(uint64)"},
}

// simulateStrictly simulates seeds in the strict build, each in a process of its
// own, since what an earlier one has left in caches would show; as many at a time
// as there are processors. It returns what each printed, and how many failed.
func simulateStrictly(t *testing.T, binary string, length time.Duration, seeds ...uint64) (outputs []string, failed int) {
	t.Helper()
	outputs = make([]string, len(seeds))
	free := make(chan struct{}, runtime.NumCPU())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, seed := range seeds {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			cmd := exec.Command(binary, "-test.run", "^TestSimulation$", "-test.v", "-test.timeout", "1h",
				"-seed", strconv.FormatUint(seed, 10), "-seeds", "1", "-length", length.String(), "-workers", strconv.Itoa(*workersFlag))
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

// traceIn returns the sum of all that the server was sent and has answered, and how
// many violations there were.
func traceIn(output string) string {
	_, trace, _ := strings.Cut(output, "trace ")
	trace, _, _ = strings.Cut(trace, "\n")
	return trace
}

// seedsFrom are the seeds that are to be simulated.
func seedsFrom(first uint64, n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}
