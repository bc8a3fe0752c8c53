package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockingworker/lockingworker/lock"
)

// stepTracer writes down the steps that it is told of, each with what it is part of.
type stepTracer struct {
	mu    sync.Mutex
	begun []string
	ended []string
	open  int
	work  []string // which operation the work's context is of
}

type stepKey struct{}

func (tr *stepTracer) Start(ctx context.Context, op string, n int) (context.Context, func(lock.Results, error)) {
	ctx, end := tr.start(ctx, fmt.Sprintf("plain %s of %d", op, n))
	return ctx, func(rs lock.Results, err error) {
		end(fmt.Sprintf("%s %q of %q fence %d: %v", op, rs[0].Resource, rs[0].Owner, rs[0].Fence, err))
	}
}

func (tr *stepTracer) StartStep(ctx context.Context, s Step) (context.Context, func(Step, error)) {
	ctx, end := tr.start(ctx, textOf(s))
	return ctx, func(s Step, err error) { end(fmt.Sprintf("%s: %v", textOf(s), err)) }
}

func (tr *stepTracer) start(ctx context.Context, text string) (context.Context, func(string)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	within := ""
	if parent, ok := ctx.Value(stepKey{}).(string); ok {
		within = parent + " > "
	}
	tr.begun = append(tr.begun, within+text)
	tr.open++
	return context.WithValue(ctx, stepKey{}, text), func(text string) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.ended = append(tr.ended, text)
		tr.open--
	}
}

func textOf(s Step) string {
	text := s.Op
	if s.Attempt.Number > 0 {
		text += fmt.Sprintf(" #%d/%d fence %d", s.Attempt.Number, s.Attempt.Max, s.Attempt.Fence)
	}
	if s.End != 0 {
		text += " as " + s.End.String()
	}
	if s.Outcome != 0 {
		text += " " + s.Outcome.String()
	}
	if s.Attempt.Job != testJob || s.Owner != "me" {
		text += fmt.Sprintf(" of %v by %q", s.Attempt.Job, s.Owner)
	}
	return text
}

// doing is work that notes which operation its context is of.
func (tr *stepTracer) doing(work Func) Func {
	return func(ctx context.Context, a Attempt) error {
		within, _ := ctx.Value(stepKey{}).(string)
		tr.mu.Lock()
		tr.work = append(tr.work, within)
		tr.mu.Unlock()
		return work(ctx, a)
	}
}

func (tr *stepTracer) want(t *testing.T, begun, ended []string) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !slices.Equal(tr.begun, begun) {
		t.Errorf("begun:\n%q\nwant:\n%q", tr.begun, begun)
	}
	if !slices.Equal(tr.ended, ended) {
		t.Errorf("ended:\n%q\nwant:\n%q", tr.ended, ended)
	}
	if tr.open != 0 {
		t.Errorf("%d have not ended", tr.open)
	}
}

func TestTracerIsToldOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &stepTracer{}
		w, _, _ := newFake(t, Config{Tracer: tr}, grants(attempt(1)), grants(attempt(2)))
		works := []Func{fail, succeed}
		_, err := w.Run(t.Context(), testJob, tr.doing(func(ctx context.Context, a Attempt) error { return works[a.Number-1](ctx, a) }))
		if err != nil {
			t.Fatal(err)
		}
		tr.want(t, []string{
			"run",
			"run > acquire",
			"run > work #1/5 fence 1001",
			"run > settle #1/5 fence 1001 as failed",
			"run > acquire",
			"run > work #2/5 fence 1002",
			"run > settle #2/5 fence 1002 as done",
		}, []string{
			"acquire #1/5 fence 1001: <nil>",
			"work #1/5 fence 1001: boom",
			"settle #1/5 fence 1001 as failed: <nil>",
			"acquire #2/5 fence 1002: <nil>",
			"work #2/5 fence 1002: <nil>",
			"settle #2/5 fence 1002 as done: <nil>",
			"run #2/5 fence 1002 completed: <nil>",
		})
		if want := []string{"work #1/5 fence 1001", "work #2/5 fence 1002"}; !slices.Equal(tr.work, want) {
			t.Errorf("the works' contexts are of %q, want %q", tr.work, want)
		}
	})
}

func TestTracerIsToldWhyNothingWasDone(t *testing.T) {
	for name, tt := range map[string]struct {
		script step
		ended  []string
	}{
		"done before": {
			answers(lock.ErrJobDone, record(lock.JobDone, "other", 2)),
			[]string{"acquire: lock: job is done", "run completed-elsewhere: <nil>"},
		},
		"exhausted": {
			answers(lock.ErrJobExhausted, record(lock.JobExhausted, "other", 5)),
			[]string{"acquire: lock: job is exhausted", `run exhausted: worker: job is exhausted: "job" run "run" at attempt #5`},
		},
		"refused": {
			answers(errRefused, record(lock.JobAbsent, "", 0)),
			[]string{"acquire: NOPERM", "run: NOPERM"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &stepTracer{}
			w, _, _ := newFake(t, Config{Tracer: tr}, tt.script)
			_, _ = w.Run(t.Context(), testJob, never)
			tr.want(t, []string{"run", "run > acquire"}, tt.ended)
		})
	}
}

// TestTracerIsToldOfGrants: who settles by hand has no run, and settling again asks nobody.
func TestTracerIsToldOfGrants(t *testing.T) {
	tr := &stepTracer{}
	l := attempt(1)
	outage := lock.ErrUnavailable
	l.settle = func(context.Context, lock.Settlement) error {
		err := outage
		outage = nil
		return err
	}
	w, _, _ := newFake(t, Config{Tracer: tr}, grants(l))
	g, err := w.Acquire(t.Context(), testJob)
	if err != nil {
		t.Fatal(err)
	}
	if g.Context().Value(stepKey{}) != nil {
		t.Error("the grant's context is of an operation that has ended")
	}
	wantIs(t, g.GiveBack(t.Context()), lock.ErrUnavailable)
	wantIs(t, g.GiveBack(t.Context()), nil)
	wantIs(t, g.GiveBack(t.Context()), nil)
	wantIs(t, g.Done(t.Context()), ErrSettled)
	tr.want(t, []string{
		"acquire",
		"settle #1/5 fence 1001 as returned",
		"settle #1/5 fence 1001 as returned",
	}, []string{
		"acquire #1/5 fence 1001: <nil>",
		"settle #1/5 fence 1001 as returned: lock: redis unavailable",
		"settle #1/5 fence 1001 as returned: <nil>",
	})
}

func TestTracerIsToldOfRunAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &stepTracer{}
		w, _, _ := newRunAll(t, Config{Tracer: tr, Concurrency: 1, RetryDelay: HandOver})
		_, err := w.RunAll(t.Context(), slices.Values([]Job{testJob}), tr.doing(func(_ context.Context, a Attempt) error {
			if a.Number == 1 {
				return errWork
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		tr.want(t, []string{
			"run #1/5 fence 1",
			"run #1/5 fence 1 > work #1/5 fence 1",
			"run #1/5 fence 1 > settle #1/5 fence 1 as failed",
			"run #2/5 fence 2",
			"run #2/5 fence 2 > work #2/5 fence 2",
			"run #2/5 fence 2 > settle #2/5 fence 2 as done",
		}, []string{
			"work #1/5 fence 1: boom",
			"settle #1/5 fence 1 as failed: <nil>",
			"run #1/5 fence 1: <nil>",
			"work #2/5 fence 2: <nil>",
			"settle #2/5 fence 2 as done: <nil>",
			"run #2/5 fence 2 completed: <nil>",
		})
	})
}

// plainTracer is a lock.Tracer and no more.
type plainTracer struct{ tr *stepTracer }

func (p plainTracer) Start(ctx context.Context, op string, n int) (context.Context, func(lock.Results, error)) {
	return p.tr.Start(ctx, op, n)
}

func TestPlainTracerIsToldOfTheSameOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &stepTracer{}
		w, _, _ := newFake(t, Config{Tracer: plainTracer{tr}}, grants(attempt(3)))
		if _, err := w.Run(t.Context(), testJob, succeed); err != nil {
			t.Fatal(err)
		}
		tr.want(t, []string{
			"plain run of 1",
			"plain run of 1 > plain acquire of 1",
			"plain run of 1 > plain work of 1",
			"plain run of 1 > plain settle of 1",
		}, []string{
			`acquire "job" of "me" fence 1003: <nil>`,
			`work "job" of "me" fence 1003: <nil>`,
			`settle "job" of "me" fence 1003: <nil>`,
			`run "job" of "me" fence 1003: <nil>`,
		})
	})
}

// TestNoTracerCostsNothing: without one no step is made up, and no function.
func TestNoTracerCostsNothing(t *testing.T) {
	w, _, _ := newFake(t, Config{})
	s, ctx := w.begin(testJob, newCaller()), t.Context()
	if n := testing.AllocsPerRun(100, func() {
		traced, end := w.trace(ctx, s.step("acquire"))
		end(s.step("acquire"), errWork)
		if !errors.Is(context.Cause(traced), context.Cause(ctx)) {
			t.Error("another context")
		}
	}); n != 0 {
		t.Errorf("%v allocations without a Tracer", n)
	}
}
