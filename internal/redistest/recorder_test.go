package redistest_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// recorder is a test that keeps what is said of it instead of failing or being skipped.
type recorder struct {
	testing.TB
	mu      sync.Mutex
	errors  []string
	fatal   string
	skipped string
}

// run runs op as a test of its own would, whose end is not that of the real test.
func (r *recorder) run(op func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		op()
	}()
	<-ended
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.fatal = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}
