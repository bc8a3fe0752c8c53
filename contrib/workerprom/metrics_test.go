package workerprom_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/lockingworker/lockingworker/contrib/workerprom"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A world is a registered Metrics, and a namespace of the test's own.
type world struct {
	t         *testing.T
	server    *redistest.Server
	namespace string
	metrics   *workerprom.Metrics
	registry  *prometheus.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := redistest.Start(t, redistest.Any)
	w := &world{t: t, server: s, namespace: s.Namespace(t), metrics: workerprom.New(), registry: prometheus.NewPedanticRegistry()}
	w.registry.MustRegister(w.metrics)
	return w
}

func (w *world) locker(cfg lock.Config) *lock.Locker {
	w.t.Helper()
	cfg.Namespace = w.namespace
	l, err := w.metrics.Locker(w.server.Client(w.t), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

func (w *world) worker(l *lock.Locker, cfg worker.Config, kind string) *worker.Worker {
	w.t.Helper()
	made, err := w.metrics.Worker(l, cfg, kind)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) gather() []*dto.MetricFamily {
	w.t.Helper()
	all, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// values returns what has been counted and is not 0: name, labels in braces, and of histograms the number of observations.
func (w *world) values() map[string]float64 {
	w.t.Helper()
	found := map[string]float64{}
	for _, family := range w.gather() {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := strings.TrimPrefix(family.GetName(), "lockingworker_")
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if v != 0 {
				found[name] = v
			}
		}
	}
	return found
}

// want compares everything that was counted, but for the lag.
func (w *world) want(want map[string]float64) {
	w.t.Helper()
	got := w.values()
	delete(got, "lock_renewal_lag_seconds")
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			w.t.Errorf("%s is %v, and is not wanted", name, got[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			w.t.Errorf("%s is %v, want %v", name, got[name], want[name])
		}
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func succeed(context.Context, worker.Attempt) error { return nil }

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

var documented = regexp.MustCompile(`(?m)^//\t(lockingworker_[a-z_]+) `)

// From the start, with nothing counted yet.
func TestMetricsAreThereAndDocumentedAndPassTheLinter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker(w.locker(lock.Config{}), worker.Config{}, "reports")
	doc, err := os.ReadFile("doc.go")
	wantErr(t, err, nil)
	var want, got []string
	for _, name := range documented.FindAllSubmatch(doc, -1) {
		want = append(want, string(name[1]))
	}
	for _, family := range w.gather() {
		got = append(got, family.GetName())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("metrics\n%q, documented\n%q", got, want)
	}
	problems, err := testutil.GatherAndLint(w.registry)
	wantErr(t, err, nil)
	for _, p := range problems {
		t.Errorf("the linter says of %s: %s", p.Metric, p.Text)
	}
}

func TestLocksAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	l := w.locker(lock.Config{Owner: "me"})

	var many []string
	for i := range 5000 { // more than an observer would be told of
		many = append(many, fmt.Sprintf("r%d", i))
	}
	rs, err := l.TryLock(ctx, lock.Claims("me", many...)...)
	wantErr(t, err, nil)
	_, err = l.TryLock(ctx, lock.Claims("other", many[:3]...)...)
	wantErr(t, err, lock.ErrHeld)
	_, err = l.TryLockAll(ctx, lock.Claims("other", "free", many[0])...)
	wantErr(t, err, lock.ErrHeld)
	_, _, err = l.Jobs().TryAwaitSome(ctx, 0, lock.JobClaim{ID: lock.JobID{Key: "not tried"}, MaxAttempts: 1})
	wantErr(t, err, lock.ErrEnough)
	_, err = l.Unlock(ctx, rs.Claims()...)
	wantErr(t, err, nil)
	_, err = l.Unlock(ctx, rs.Claims()[0])
	wantErr(t, err, lock.ErrNotHeld)
	_, err = l.TryLock(ctx, lock.Claim{Resource: "no owner"})
	wantErr(t, err, lock.ErrInvalid)

	held, err := l.Hold(ctx, lock.Claim{Resource: "held"})
	wantErr(t, err, nil)
	w.want(map[string]float64{
		"lock_grants_total":                   5001,
		"lock_wait_seconds":                   2,
		"lock_refusals_total{reason=held}":    4,
		"lock_refusals_total{reason=aborted}": 1,
		"lock_errors_total{reason=not-held}":  1,
		"lock_errors_total{reason=invalid}":   1,
		"lock_leases":                         1,
	})

	waiting, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Hold(waiting, lock.Claim{Resource: "held"})
		ended <- err
	}()
	for w.values()["lock_waiters"] != 1 {
		if ctx.Err() != nil {
			t.Fatal("the waiter is not counted")
		}
		time.Sleep(time.Millisecond) // nothing tells when a call waits
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a lock was granted twice")
	}
	wantErr(t, held.Release(ctx), nil)

	lost, err := l.Hold(ctx, lock.Claim{Resource: "lost", TTL: 300 * time.Millisecond})
	wantErr(t, err, nil)
	_, err = l.ForceLock(ctx, lock.Claims("other", "lost")...)
	wantErr(t, err, nil)
	<-lost.Context().Done()
	for w.values()["lock_losses_total"] != 1 { // is counted a moment later
		if ctx.Err() != nil {
			t.Fatal("the loss is not counted")
		}
		time.Sleep(time.Millisecond)
	}
	got := w.values()
	for name, want := range map[string]float64{"lock_grants_total": 5003, "lock_hold_seconds": 2, "lock_leases": 0, "lock_waiters": 0} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if refused := got["lock_refusals_total{reason=held}"] + got["lock_errors_total{reason=canceled}"]; refused != 5 {
		t.Errorf("the wait that was given up is counted neither as held nor as canceled: %v", got)
	}
}

func TestJobsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	l := w.locker(lock.Config{})
	reports := w.worker(l, worker.Config{RetryDelay: worker.HandOver, MaxAttempts: 3}, "reports")
	mails := w.worker(l, worker.Config{RetryDelay: worker.HandOver, MaxAttempts: 1, MaxWait: worker.NoWait}, "mails")

	job := worker.Job{Key: "report", Run: worker.Once("a")}
	_, err := reports.Run(ctx, job, func(_ context.Context, a worker.Attempt) error {
		if got := w.values()["worker_running{kind=reports}"]; got != 1 {
			t.Errorf("%v works are running", got)
		}
		if a.Number == 1 {
			panic("ouch")
		}
		return nil
	})
	wantErr(t, err, nil)
	_, err = reports.Run(ctx, job, succeed)
	wantErr(t, err, nil)

	over := errors.New("over")
	shutdown, stop := context.WithCancelCause(ctx)
	_, err = reports.Run(shutdown, worker.Job{Key: "long"}, func(ctx context.Context, _ worker.Attempt) error {
		_, err := mails.Run(t.Context(), worker.Job{Key: "long"}, succeed) // another kind, but the same lock
		if !errors.Is(err, lock.ErrHeld) {
			t.Errorf("error is %v", err)
		}
		stop(over)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	wantErr(t, err, over)
	_, err = mails.Run(ctx, worker.Job{Key: "mail"}, func(context.Context, worker.Attempt) error { return errors.New("bounced") })
	wantErr(t, err, worker.ErrExhausted)
	jobs := make([]worker.Job, 100)
	for i := range jobs {
		jobs[i].Key = fmt.Sprintf("mail %d", i)
	}
	_, err = mails.RunAll(ctx, slices.Values(jobs), succeed)
	wantErr(t, err, nil)

	got := w.values()
	for name := range got {
		if strings.HasPrefix(name, "lock_errors") {
			t.Errorf("%s is %v, and nothing failed", name, got[name])
		}
		if strings.HasPrefix(name, "lock_") {
			delete(got, name)
		}
	}
	want := map[string]float64{
		"worker_attempts_total{kind=reports}":                      3,
		"worker_attempts_ended_total{end=failed,kind=reports}":     1,
		"worker_attempts_ended_total{end=done,kind=reports}":       1,
		"worker_attempts_ended_total{end=returned,kind=reports}":   1,
		"worker_work_seconds{kind=reports}":                        3,
		"worker_errors_total{kind=reports,reason=panic}":           1,
		"worker_outcomes_total{kind=reports,outcome=completed}":    1,
		"worker_outcomes_total{kind=reports,outcome=interrupted}":  1,
		"worker_outcomes_total{kind=mails,outcome=held-elsewhere}": 1,
		"worker_outcomes_total{kind=mails,outcome=exhausted}":      1,
		"worker_outcomes_total{kind=mails,outcome=completed}":      100,
		"worker_attempts_total{kind=mails}":                        101,
		"worker_attempts_ended_total{end=failed,kind=mails}":       1,
		"worker_attempts_ended_total{end=done,kind=mails}":         100,
		"worker_work_seconds{kind=mails}":                          101,

		"worker_outcomes_total{kind=reports,outcome=completed-elsewhere}": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("counted\n%v, want\n%v", got, want)
	}
}

func TestALostAttemptIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	l := w.locker(lock.Config{})
	other := w.locker(lock.Config{})
	jobs := w.worker(l, worker.Config{TTL: 300 * time.Millisecond}, "")
	_, err := jobs.Run(ctx, worker.Job{Key: "job"}, func(ctx context.Context, a worker.Attempt) error {
		if a.Number > 1 {
			return nil
		}
		if _, err := other.ForceUnlock(ctx, "job"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	wantErr(t, err, nil)
	got := w.values()
	for name, want := range map[string]float64{
		"worker_attempts_ended_total{end=lost,kind=}": 1,
		"worker_attempts_ended_total{end=done,kind=}": 1,
		"worker_attempts_total{kind=}":                2,
		"lock_losses_total":                           1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v of %v", name, got[name], want, got)
		}
	}
}

// TestWhatTheUserObservesIsObserved: Tracer and Handlers of the Configs, which are wrapped.
func TestWhatTheUserObservesIsObserved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	tr := &tracer{ops: map[string]int{}}
	called := map[string]int{}
	l := w.locker(lock.Config{Tracer: tr})
	jobs := w.worker(l, worker.Config{RetryDelay: worker.HandOver, Handlers: worker.Handlers{
		OnAcquired: func(worker.Attempt) { called["OnAcquired"]++ },
		OnDone:     func(worker.Attempt) { called["OnDone"]++ },
		OnFailed:   func(worker.Attempt, error) { called["OnFailed"]++ },
		OnResult:   func(worker.Result) { called["OnResult"]++ },
		OnError:    func(worker.Job, error) { called["OnError"]++ },
		OnLost:     func(worker.Attempt) { called["OnLost"]++ },
	}}, "reports")
	_, err := jobs.Run(ctx, worker.Job{Key: "job"}, func(ctx context.Context, a worker.Attempt) error {
		if ctx.Value(key{}) != "work" {
			t.Error("the work's context is not the Tracer's")
		}
		if a.Number == 1 {
			panic("ouch")
		}
		return nil
	})
	wantErr(t, err, nil)
	if want := map[string]int{"OnAcquired": 2, "OnDone": 1, "OnFailed": 1, "OnResult": 1, "OnError": 1}; !maps.Equal(called, want) {
		t.Errorf("handlers were called %v, want %v", called, want)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if want := map[string]int{"run": 1, "acquire": 2, "work": 2, "settle": 2, "Jobs.Await": 2, "Jobs.Settle": 2, "lease": 2}; !maps.Equal(tr.ops, want) {
		t.Errorf("operations that ended: %v, want %v", tr.ops, want)
	}
}

type key struct{}

type tracer struct {
	mu  sync.Mutex
	ops map[string]int
}

func (tr *tracer) Start(ctx context.Context, op string, _ int) (context.Context, func(lock.Results, error)) {
	return context.WithValue(ctx, key{}, op), func(lock.Results, error) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.ops[op]++
	}
}

// TestNamesNeverBecomeLabels, whatever comes of them; and what does is a few words.
func TestNamesNeverBecomeLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	l := w.locker(lock.Config{Owner: "secret-owner"})
	jobs := w.worker(l, worker.Config{MaxAttempts: 1}, "reports")
	for i := range 100 {
		_, _ = jobs.Run(ctx, worker.Job{Key: fmt.Sprintf("secret-%d", i), Run: worker.Once("secret-run")}, func(context.Context, worker.Attempt) error {
			if i%2 == 0 {
				return errors.New("secret-error")
			}
			return nil
		})
		_, _ = l.Unlock(ctx, lock.Claims("secret-owner", fmt.Sprintf("secret-%d", i))...)
	}
	n := 0
	for _, family := range w.gather() {
		for _, m := range family.GetMetric() {
			n++
			for _, label := range m.GetLabel() {
				if !slices.Contains([]string{"kind", "end", "outcome", "reason"}, label.GetName()) || strings.Contains(label.GetValue(), "secret") {
					t.Errorf("%s has the label %v", family.GetName(), label)
				}
			}
		}
	}
	if n > 60 {
		t.Errorf("%d series", n)
	}
}

// TestCountingWhileOthersGather is for the race detector.
func TestCountingWhileOthersGather(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := bounded(t)
	l := w.locker(lock.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		jobs := w.worker(l, worker.Config{}, fmt.Sprint(i%2))
		wg.Go(func() {
			for n := range 10 {
				if _, err := jobs.Run(ctx, worker.Job{Key: fmt.Sprintf("%d-%d", i, n)}, succeed); err != nil {
					t.Error(err)
				}
				if _, err := w.registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := w.values()["worker_outcomes_total{kind=0,outcome=completed}"]; got != 40 {
		t.Errorf("%v runs of kind 0 were counted, want 40", got)
	}
}

// TestSameMetricsForSeveralPartsOfAProgram: what tells them apart is a label for all.
func TestSameMetricsForSeveralPartsOfAProgram(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	registry := prometheus.NewPedanticRegistry()
	for _, part := range []string{"a", "b"} {
		m := workerprom.New()
		prometheus.WrapRegistererWith(prometheus.Labels{"part": part}, registry).MustRegister(m)
		l, err := m.Locker(s.Client(t), lock.Config{Namespace: s.Namespace(t) + part})
		wantErr(t, err, nil)
		t.Cleanup(func() { _ = l.Close() })
		_, err = l.TryLock(bounded(t), lock.Claims("me", "r")...)
		wantErr(t, err, nil)
	}
	if n, err := testutil.GatherAndCount(registry, "lockingworker_lock_grants_total"); n != 2 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestWhatNewRefusesIsRefused(t *testing.T) {
	t.Parallel()
	m := workerprom.New()
	if _, err := m.Locker(nil, lock.Config{}); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("Locker: %v", err)
	}
	if _, err := m.Worker(nil, worker.Config{}, ""); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("Worker: %v", err)
	}
}
