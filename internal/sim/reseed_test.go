package sim

import (
	"runtime"
	"testing"
	"testing/cryptotest"
)

// Another build of this test (see strict_test.go) changes these lines, so that the
// whole program does the same again for the same seed.
const strict = false

func reseed(uint64) {}

// seedAll seeds what is drawn outside of the world: identities and, in the strict
// build, whatever the Go runtime decides by chance.
func seedAll(t *testing.T, seed uint64) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	reseed(seed)
}

// tidyEvery is after how many ticks garbage is collected.
const tidyEvery = 40

// tidy collects garbage, where that is not done at any time but when nobody runs.
func (w *world) tidy() {
	if w.ticks++; strict && w.ticks%tidyEvery == 0 {
		runtime.GC()
	}
}
