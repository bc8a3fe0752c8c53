package workerotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/contrib/workerotel"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A world has a Locker whose spans are kept in memory.
type world struct {
	t        *testing.T
	server   *redistest.Server
	config   lock.Config
	spans    *tracetest.InMemoryExporter
	provider *trace.TracerProvider
	locker   *lock.Locker
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: redistest.Start(t, redistest.Any), spans: tracetest.NewInMemoryExporter()}
	w.provider = trace.NewTracerProvider(trace.WithSyncer(w.spans))
	t.Cleanup(func() { _ = w.provider.Shutdown(context.Background()) })
	w.config = lock.Config{Namespace: w.server.Namespace(t), Owner: "me", Tracer: workerotel.New(w.provider)}
	w.locker = w.open(w.config)
	return w
}

func (w *world) open(cfg lock.Config) *lock.Locker {
	w.t.Helper()
	l, err := lock.New(w.server.Client(w.t), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

func (w *world) worker(cfg worker.Config) *worker.Worker {
	w.t.Helper()
	made, err := worker.New(w.locker, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// take returns the spans that have ended, each as its path, in the order of their beginnings.
func (w *world) take() []span {
	w.t.Helper()
	ended := w.spans.GetSpans()
	w.spans.Reset()
	slices.SortStableFunc(ended, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	names := map[api.SpanID]tracetest.SpanStub{}
	for _, s := range ended {
		names[s.SpanContext.SpanID()] = s
	}
	spans := make([]span, len(ended))
	for i, s := range ended {
		spans[i] = span{SpanStub: s, path: s.Name, attributes: map[string]string{}}
		for at := s; at.Parent.IsValid(); {
			parent, ok := names[at.Parent.SpanID()]
			if !ok {
				spans[i].path = "? > " + spans[i].path
				break
			}
			if parent.SpanContext.TraceID() != s.SpanContext.TraceID() {
				w.t.Errorf("%s is in another trace than its parent", s.Name)
			}
			spans[i].path = parent.Name + " > " + spans[i].path
			at = parent
		}
		for _, a := range s.Attributes {
			short, ours := strings.CutPrefix(string(a.Key), "lockingworker.")
			if !ours {
				w.t.Errorf("%s has the attribute %s", s.Name, a.Key)
			}
			if (a.Value.Type() == attribute.INT64) != slices.Contains([]string{"attempt", "max", "resources", "refused"}, short) {
				w.t.Errorf("%s: %s is a %v", s.Name, a.Key, a.Value.Type())
			}
			spans[i].attributes[short] = a.Value.String()
		}
	}
	return spans
}

type span struct {
	tracetest.SpanStub

	path       string
	attributes map[string]string
}

func paths(spans []span) []string {
	all := make([]string, len(spans))
	for i, s := range spans {
		all[i] = s.path
	}
	return all
}

// failure is the status's description, and what is recorded must be the same; "" without one.
func (s span) failure(t *testing.T) string {
	t.Helper()
	if s.Status.Code != codes.Error {
		if s.Status.Code != codes.Unset || len(s.Events) > 0 {
			t.Errorf("%s has status %v and events %v", s.path, s.Status, s.Events)
		}
		return ""
	}
	recorded := ""
	for _, e := range s.Events {
		for _, a := range e.Attributes {
			if e.Name == "exception" && a.Key == "exception.message" {
				recorded = a.Value.AsString()
			}
		}
	}
	if recorded != s.Status.Description || recorded == "" {
		t.Errorf("%s failed with %q, and %q is recorded", s.path, s.Status.Description, recorded)
	}
	return s.Status.Description
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func succeed(context.Context, worker.Attempt) error { return nil }

func TestRunIsOneTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	users := w.provider.Tracer("user's")
	jobs := w.worker(worker.Config{MaxAttempts: 7, RetryDelay: worker.HandOver})
	ctx, root := users.Start(bounded(t), "nightly")
	var fences []string
	_, err := jobs.Run(ctx, worker.Job{Key: "report", Run: worker.Once("2026-11-22")}, func(ctx context.Context, a worker.Attempt) error {
		fences = append(fences, fmt.Sprint(a.Fence))
		_, inner := users.Start(ctx, "query")
		inner.End()
		if a.Number == 1 {
			return errors.New("disk full")
		}
		return nil
	})
	root.End()
	if err != nil {
		t.Fatal(err)
	}
	spans := w.take()
	want := []string{
		"nightly",
		"nightly > run",
		"nightly > run > acquire",
		"nightly > run > acquire > Jobs.Await",
		"nightly > run > work",
		"nightly > run > work > query",
		"nightly > run > settle",
		"nightly > run > settle > Jobs.Settle",
		"nightly > run > acquire",
		"nightly > run > acquire > Jobs.Await",
		"nightly > run > work",
		"nightly > run > work > query",
		"nightly > run > settle",
		"nightly > run > settle > Jobs.Settle",
	}
	if got := paths(spans); !slices.Equal(got, want) {
		t.Fatalf("spans\n%q, want\n%q", got, want)
	}
	attempts := map[string]int{}
	for _, s := range spans {
		n := attempts[s.Name]
		attempts[s.Name]++
		var want map[string]string
		failure := ""
		switch s.Name {
		case "acquire", "work", "settle", "run":
			want = map[string]string{
				"key": "report", "run": "2026-11-22", "owner": "me", "attempt": fmt.Sprint(n + 1), "max": "7", "fence": fences[n],
			}
			switch {
			case s.Name == "run":
				want["attempt"], want["fence"], want["outcome"] = "2", fences[1], "completed"
			case s.Name == "settle" && n == 0:
				want["end"] = "failed"
			case s.Name == "settle":
				want["end"] = "done"
			case s.Name == "work" && n == 0:
				failure = "disk full"
			}
		case "Jobs.Await":
			want = map[string]string{"resources": "1", "resource": "report", "owner": "me", "fence": fences[n]}
		case "Jobs.Settle":
			want = map[string]string{"resources": "1", "resource": "report"}
		}
		if !maps.Equal(s.attributes, want) {
			t.Errorf("%s has the attributes %v, want %v", s.path, s.attributes, want)
		}
		if got := s.failure(t); got != failure {
			t.Errorf("%s failed with %q, want %q", s.path, got, failure)
		}
		if s.Name != "nightly" && s.Name != "query" && s.InstrumentationScope.Name != "github.com/lockingworker/lockingworker/contrib/workerotel" {
			t.Errorf("%s is of %q", s.path, s.InstrumentationScope.Name)
		}
	}
}

// TestToBeRefusedIsNoFailure, and neither is to be interrupted; what fails is.
func TestToBeRefusedIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	other := w.open(lock.Config{Namespace: w.config.Namespace, Owner: "other"})
	if _, err := other.TryLock(ctx, lock.Claims("other", "held")...); err != nil {
		t.Fatal(err)
	}
	patient := w.worker(worker.Config{MaxAttempts: 1})
	hasty := w.worker(worker.Config{MaxWait: worker.NoWait})
	done, broken := worker.Job{Key: "done"}, worker.Job{Key: "broken"}
	if _, err := patient.Run(ctx, done, succeed); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	w.take()
	for _, tt := range []struct {
		name string
		call func()
		want []string // spans: path, refusal, outcome and failure
	}{
		{"done", func() { _, _ = patient.Run(ctx, done, succeed) }, []string{
			"run  completed-elsewhere ", "run > acquire done  ", "run > acquire > Jobs.Await done  ",
		}},
		{"held", func() { _, _ = hasty.Run(ctx, worker.Job{Key: "held"}, succeed) }, []string{
			"run  held-elsewhere ", "run > acquire held  ", "run > acquire > Jobs.TryAwait held  ",
		}},
		{"exhausted", func() {
			_, _ = patient.Run(ctx, broken, func(context.Context, worker.Attempt) error { return errors.New("boom") })
		}, []string{
			`run  exhausted worker: job is exhausted: "broken" at attempt #1: boom`, "run > acquire   ", "run > acquire > Jobs.Await   ",
			"run > work   boom", "run > settle   ", "run > settle > Jobs.Settle   ",
		}},
		{"interrupted", func() {
			_, _ = patient.Run(ended, worker.Job{Key: "interrupted"}, func(context.Context, worker.Attempt) error {
				cancel()
				return errors.New("left")
			})
		}, []string{
			"run  interrupted ", "run > acquire   ", "run > acquire > Jobs.Await   ",
			"run > work   left", "run > settle   ", "run > settle > Jobs.Settle   ",
		}},
		{"panic", func() {
			_, _ = patient.Run(ctx, worker.Job{Key: "panic"}, func(context.Context, worker.Attempt) error { panic("ouch") })
		}, []string{
			`run  exhausted worker: job is exhausted: "panic" at attempt #1: worker: panic: ouch`, "run > acquire   ", "run > acquire > Jobs.Await   ",
			"run > work   worker: panic: ouch", "run > settle   ", "run > settle > Jobs.Settle   ",
		}},
		{"TryLock", func() { _, _ = w.locker.TryLock(ctx, lock.Claims("me", "held", "free")...) }, []string{"TryLock   "}},
		{"TryHold", func() { _, _ = w.locker.TryHold(ctx, lock.Claim{Resource: "held"}) }, []string{"TryHold held  "}},
		{"Unlock", func() { _, _ = w.locker.Unlock(ctx, lock.Claims("me", "held")...) }, []string{
			`Unlock   lock: Unlock: 1 of 1 failed; "held": lock: held by another`,
		}},
		{"closed", func() {
			_ = w.locker.Close()
			_, _ = w.locker.TryLock(ctx, lock.Claims("me", "free")...)
		}, []string{"TryLock   lock: closed"}},
	} {
		tt.call()
		var got []string
		for _, s := range w.take() {
			got = append(got, fmt.Sprintf("%s %s %s %s", s.path, s.attributes["refusal"], s.attributes["outcome"], s.failure(t)))
			if s.Name == "TryLock" && tt.name == "TryLock" && s.attributes["refused"] != "1" {
				t.Errorf("TryLock has the attributes %v", s.attributes)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: spans\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

// TestPanicsHaveTheirStack: that of the work, and not of who recorded it.
func TestPanicsHaveTheirStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _ = w.worker(worker.Config{MaxAttempts: 1}).Run(bounded(t), worker.Job{Key: "job"}, panics)
	for _, s := range w.take() {
		for _, e := range s.Events {
			for _, a := range e.Attributes {
				if s.Name == "work" && a.Key == "exception.stacktrace" && strings.Contains(a.Value.AsString(), "workerotel_test.panics") {
					return
				}
			}
		}
	}
	t.Error("no stack is recorded in which the work is")
}

func panics(context.Context, worker.Attempt) error { panic("ouch") }

func TestRunAllHasATraceForEachAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := make([]worker.Job, 20)
	for i := range jobs {
		jobs[i].Key = fmt.Sprintf("job %d", i)
	}
	if _, err := w.worker(worker.Config{}).RunAll(bounded(t), slices.Values(jobs), succeed); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range w.take() {
		counts[s.path]++
		if failure := s.failure(t); failure != "" {
			t.Errorf("%s failed with %q", s.path, failure)
		}
		if strings.HasPrefix(s.path, "Jobs.TryAwait") {
			counts["claims"]++
		}
		if s.Name == "run" && (s.attributes["outcome"] != "completed" || s.attributes["attempt"] != "1") {
			t.Errorf("a run has %v", s.attributes)
		}
	}
	for _, path := range []string{"run", "run > work", "run > settle"} {
		if counts[path] != len(jobs) {
			t.Errorf("%d spans %q, want %d", counts[path], path, len(jobs))
		}
	}
	if n := counts["claims"]; n == 0 || n == len(jobs) {
		t.Errorf("%d claims for %d jobs", n, len(jobs))
	}
}

// TestAnyBytesCanBeExported: protocols want UTF-8, and names and errors need not be.
func TestAnyBytesCanBeExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := worker.Job{Key: "k\xff", Run: worker.Once("r\xfe")}
	_, _ = w.worker(worker.Config{MaxAttempts: 1}).Run(bounded(t), job, func(context.Context, worker.Attempt) error { return errors.New("e\xfd") })
	n := 0
	for _, s := range w.take() {
		all := slices.Clone(s.Attributes)
		for _, e := range s.Events {
			all = append(all, e.Attributes...)
		}
		for _, a := range append(all, attribute.String("status", s.Status.Description)) {
			n++
			if !utf8.ValidString(a.Value.String()) {
				t.Errorf("%s: %s is %q", s.Name, a.Key, a.Value.String())
			}
		}
		if s.Name == "run" && s.attributes["key"] != "k\uFFFD" {
			t.Errorf("the key is %q", s.attributes["key"])
		}
	}
	if n < 20 {
		t.Errorf("%d attributes", n)
	}
}

// TestLogsHaveTheSameNames: a line of the log leads to the spans of that attempt.
func TestLogsHaveTheSameNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	core, logs := observer.New(zap.InfoLevel)
	job := worker.Job{Key: "report", Run: worker.Once("2026-11-22")}
	if _, err := w.worker(worker.Config{Logger: zap.New(core)}).Run(bounded(t), job, succeed); err != nil {
		t.Fatal(err)
	}
	var work, run span
	for _, s := range w.take() {
		switch s.Name {
		case "work":
			work = s
		case "run":
			run = s
		}
	}
	for message, want := range map[string]struct {
		span   span
		fields []string
	}{
		"attempt granted":   {work, []string{"key", "run", "owner", "attempt", "fence"}},
		"attempt completed": {work, []string{"key", "run", "attempt", "fence"}},
		"run ended":         {run, []string{"key", "run", "outcome"}},
	} {
		lines := logs.FilterMessage(message).All()
		if len(lines) != 1 {
			t.Fatalf("%d lines say %q", len(lines), message)
		}
		for _, name := range want.fields {
			if got := fmt.Sprint(lines[0].ContextMap()[name]); got != want.span.attributes[name] || got == "" {
				t.Errorf("%s has %s %q, the span has %q", message, name, got, want.span.attributes[name])
			}
		}
	}
}

// TestWorkersAlone: a Tracer of the Worker's own leaves out what each call to Redis is.
func TestWorkersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locker = w.open(lock.Config{Namespace: w.config.Namespace})
	if _, err := w.worker(worker.Config{Tracer: w.config.Tracer}).Run(bounded(t), worker.Job{Key: "job"}, succeed); err != nil {
		t.Fatal(err)
	}
	if got, want := paths(w.take()), []string{"run", "run > acquire", "run > work", "run > settle"}; !slices.Equal(got, want) {
		t.Errorf("spans %q, want %q", got, want)
	}
}

func TestGlobalProvider(t *testing.T) {
	w := newWorld(t)
	otel.SetTracerProvider(w.provider)
	_, end := workerotel.New(nil).StartStep(t.Context(), worker.Step{Op: "work"})
	end(worker.Step{}, nil)
	if got := paths(w.take()); !slices.Equal(got, []string{"work"}) {
		t.Errorf("spans %q", got)
	}
}
