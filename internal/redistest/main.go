package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// binary is what the tests of one test binary share. It is global because TestMain and the tests have nothing else in
// common.
var binary struct {
	running atomic.Bool
	skipped atomic.Int64
	spawner spawner
	server  shared[node]
	cluster shared[cluster]
	docker  shared[daemon]
}

// shared is something that is started once, with the first test that asks for it.
type shared[T any] struct {
	mu    sync.Mutex
	tried bool
	value *T
	err   error
}

// get starts it, if nobody has. A failure is remembered, so that not every test waits for it again.
func (s *shared[T]) get(start func() (*T, error)) (*T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tried {
		s.tried = true
		s.value, s.err = start()
	}
	return s.value, s.err
}

// peek returns it if it was started.
func (s *shared[T]) peek() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// Main runs the tests of a package that uses redistest, prints which server served, ends the servers, looks for leaked
// goroutines, and exits. The package's TestMain calls it and nothing after it.
func Main(m *testing.M, leaks ...goleak.Option) {
	goleak.VerifyTestMain(testMain{m, leaks}, leaks...)
}

// testMain is what goleak runs: the tests, and the end of what they share.
type testMain struct {
	m     *testing.M
	leaks []goleak.Option
}

// Run returns the exit code of the tests, or 1 if a server could not be ended.
func (r testMain) Run() int {
	binary.running.Store(true)
	code := r.m.Run()
	binary.running.Store(false)
	report(os.Stdout)
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		// go-redis looks once a second whether a dead server is back, and notices only then that its client was closed.
		// goleak waits for 400 ms. What is still there after the bound, goleak reports.
		_ = retry(context.Background(), leakBound, func(context.Context) error { return goleak.Find(r.leaks...) })
	}
	return code
}

// report prints one line about the server that served, one about the cluster, and one about what was skipped.
func report(w io.Writer) {
	if n := binary.server.peek(); n != nil {
		fmt.Fprintf(w, "redistest: %s\n", n)
	}
	if c := binary.cluster.peek(); c != nil {
		fmt.Fprintf(w, "redistest: cluster of %s\n", c)
	}
	if n := binary.skipped.Load(); n > 0 {
		fmt.Fprintf(w, "redistest: tests skipped for want of a real redis-server: %d\n", n)
	}
}

func stopShared() error {
	var errs []error
	if c := binary.cluster.peek(); c != nil {
		errs = append(errs, c.close())
	}
	if n := binary.server.peek(); n != nil {
		errs = append(errs, n.close())
	}
	closeDocker()
	binary.spawner.stop()
	return errors.Join(errs...)
}
