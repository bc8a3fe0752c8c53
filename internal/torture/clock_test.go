package torture

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// startWithClock starts a server whose clock can be moved, and returns the file
// that moves it. The machine's own clock is left alone.
func startWithClock(t *testing.T, options ...redistest.Option) (server *redistest.Server, clock string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler, for the server's clock")
	}
	dir := t.TempDir()
	clock, shim := filepath.Join(dir, "clock"), filepath.Join(dir, "clock.so")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-O1", "-o", shim, filepath.Join("testdata", "clock.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	setClock(t, clock, 0)
	return redistest.Start(t, redistest.Own, append(options, redistest.Environment("LD_PRELOAD="+shim, "LOCKINGWORKER_CLOCK="+clock))...), clock
}

// setClock moves the clock to so long after, or before, the time.
func setClock(t *testing.T, clock string, d time.Duration) {
	t.Helper()
	f, err := os.OpenFile(clock, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // in a folder of the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(d.Microseconds())), 0); err != nil {
		t.Fatal(err)
	}
}

// jumpClock sets the server's clock on and back.
func jumpClock(r *round) {
	for r.sleep(200*time.Millisecond, time.Second) {
		setClock(r.t, r.clock, between(r.rng, -5*time.Second, 20*time.Second))
	}
}
