package worker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/lock"
)

func TestWorkThatDoesNotReturn(t *testing.T) {
	tests := []struct {
		name   string
		work   Func
		goexit bool
		cause  string
	}{
		{"panic", func(context.Context, Attempt) error { panic("boom") }, false, "worker: panic: boom"},
		{"panic with a permanent error", func(context.Context, Attempt) error { panic(Permanent(errWork)) }, false, "worker: panic: boom"},
		{"Goexit", func(context.Context, Attempt) error { runtime.Goexit(); return nil }, true, "worker: runtime.Goexit was called"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := attempt(1)
			w, _, c := newFake(t, Config{}, grants(l), grants(attempt(5)))
			_, err := w.Run(t.Context(), testJob, tt.work)
			wantIs(t, err, ErrExhausted)
			wantEnds(t, l, lock.Failed)
			if got := l.settled[0].Cause; got != tt.cause {
				t.Errorf("recorded cause %q, want %q", got, tt.cause)
			}
			var p *PanicError
			if !errors.As(err, &p) {
				t.Fatalf("error %v is no *PanicError", err)
			}
			if p.Goexit != tt.goexit || !strings.Contains(p.Error(), "panic_test.go") {
				t.Errorf("Goexit %v, or the stack does not show the work: %v", p.Goexit, p)
			}
			wantCalls(t, c,
				"acquired #1", "error: "+tt.cause, "failed #1: "+tt.cause,
				"acquired #5", "error: "+tt.cause, "failed #5: "+tt.cause,
				`max attempts: worker: job is exhausted: "job" run "run" at attempt #5: `+tt.cause, "result exhausted 5")
		})
	}
}
