package lock_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A trace is what a Tracer was told of one operation.
type trace struct {
	op, parent string
	n          int
	ended      int
	results    lock.Results
	err        error
}

// tracer writes down what it is told.
type tracer struct {
	mu     sync.Mutex
	traces []*trace
	wrap   func(ctx context.Context, op string) context.Context // nil: nothing more
}

type traceKey struct{}

func (tr *tracer) Start(ctx context.Context, op string, n int) (context.Context, func(lock.Results, error)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	parent, _ := ctx.Value(traceKey{}).(string)
	x := &trace{op: op, n: n, parent: parent}
	tr.traces = append(tr.traces, x)
	ctx = context.WithValue(ctx, traceKey{}, op)
	if tr.wrap != nil {
		ctx = tr.wrap(ctx, op)
	}
	return ctx, func(rs lock.Results, err error) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		x.ended++
		x.results, x.err = slices.Clone(rs), err
	}
}

// all returns what there was.
func (tr *tracer) all() []trace {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	out := make([]trace, len(tr.traces))
	for i, x := range tr.traces {
		out[i] = *x
	}
	return out
}

// ops writes each operation as parent>op, or as op.
func ops(traces []trace) []string {
	out := make([]string, len(traces))
	for i, x := range traces {
		out[i] = x.op
		if x.parent != "" {
			out[i] = x.parent + ">" + x.op
		}
	}
	return out
}

// TestTracerIsToldOfEveryOperation calls each method, and sees that none was left out.
func TestTracerIsToldOfEveryOperation(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	tr, namespace := &tracer{}, s.Namespace(t)
	l := newLocker(t, s, lock.Config{Owner: "me", Namespace: namespace, Tracer: tr})
	other := newLocker(t, s, lock.Config{Owner: "other", Namespace: namespace})
	if l.Tracer() != tr {
		t.Error("Tracer is not Config.Tracer")
	}
	must[lock.Results](t)(other.TryLock(ctx, lock.Claims("other", "theirs")...))
	jobs, claim := l.Jobs(), func(key string) lock.JobClaim { return lock.JobClaim{ID: lock.JobID{Key: key}, MaxAttempts: 3} }
	must[lock.Results](t)(other.TryLock(ctx, lock.Claims("other", "busy")...))

	var rs lock.Results
	var granted []lock.JobResult
	var leases []*lock.Lease
	var err error
	seen := map[string]bool{}
	for _, step := range []struct {
		call func() error
		want []string // operations
		n    int      // resources of the first
		errs []error  // of its results
	}{
		{func() error { rs, err = l.TryLock(ctx, lock.Claims("me", "a", "theirs")...); return err },
			[]string{"TryLock"}, 2, []error{nil, lock.ErrHeld}},
		{func() error { _, err := l.TryLockAll(ctx, lock.Claims("me", "free", "theirs")...); return err },
			[]string{"TryLockAll"}, 2, []error{lock.ErrAborted, lock.ErrHeld}},
		{func() error { _, err := l.ForceLock(ctx, lock.Claims("me", "theirs")...); return err },
			[]string{"ForceLock"}, 1, []error{nil}},
		{func() error { _, err := l.Extend(ctx, rs[0:1].Claims()...); return err }, []string{"Extend"}, 1, []error{nil}},
		{func() error { _, err := l.Owners(ctx, "a", "theirs", "free"); return err }, []string{"Owners"}, 3, []error{nil, nil, nil}},
		{func() error {
			for _, err := range l.List(ctx, lock.Query{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, []string{"List"}, 0, nil},
		{func() error { leases, err = l.Keep(ctx, rs[0]); return err }, []string{"Keep", "lease"}, 1, []error{nil}},
		{func() error { return leases[0].Release(ctx) }, []string{"Release"}, 1, []error{nil}},
		{func() error { _, err := l.Unlock(ctx, lock.Claims("me", "a")...); return err }, []string{"Unlock"}, 1, []error{lock.ErrNotHeld}},
		{func() error { _, err := l.ForceUnlock(ctx, "theirs"); return err }, []string{"ForceUnlock"}, 1, []error{nil}},
		{func() error { _, err := l.TryHold(ctx, lock.Claim{Resource: "busy"}); return err }, []string{"TryHold"}, 1, []error{lock.ErrHeld}},
		{func() error { _, err := l.Hold(ctx, lock.Claim{Resource: "h"}); return err }, []string{"Hold", "lease"}, 1, []error{nil}},
		{func() error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := l.Hold(short, lock.Claim{Resource: "busy"})
			return err
		}, []string{"Hold"}, 1, []error{context.DeadlineExceeded}},
		{func() error {
			return l.Do(ctx, lock.Claim{Resource: "d"}, func(ctx context.Context, le *lock.Lease) error {
				if _, err := l.Owners(ctx, "d"); err != nil {
					return err
				}
				_, err := l.Owners(le.Context(), "d")
				return err
			})
		}, []string{"Do", "Do>Hold", "Do>lease", "Do>Owners", "Do>Owners", "Do>Release"}, 1, []error{nil}},
		{func() error { granted, err = jobs.Claim(ctx, claim("j"), claim("busy")); return err },
			[]string{"Jobs.Claim"}, 2, []error{nil, lock.ErrHeld}},
		{func() error { _, err := jobs.Get(ctx, lock.JobID{Key: "j"}); return err }, []string{"Jobs.Get"}, 1, []error{nil}},
		{func() error { return jobs.Reset(ctx, lock.JobID{Key: "j"}, lock.JobID{Key: "none"}) },
			[]string{"Jobs.Reset"}, 2, []error{lock.ErrHeld, nil}},
		{func() error {
			_, err := jobs.Settle(ctx, lock.Settlement{Grant: granted[0].Grant, ID: granted[0].Job.ID, End: lock.Done})
			return err
		}, []string{"Jobs.Settle"}, 1, []error{nil}},
		{func() error { _, _, err := jobs.Await(ctx, claim("j")); return err }, []string{"Jobs.Await"}, 1, []error{lock.ErrJobDone}},
		{func() error { _, _, err := jobs.Await(ctx, claim("k")); return err }, []string{"Jobs.Await", "lease"}, 1, []error{nil}},
		{func() error { _, _, err := jobs.TryAwait(ctx, claim("k")); return err }, []string{"Jobs.TryAwait"}, 1, []error{lock.ErrHeld}},
		{func() error { _, _, err := jobs.TryAwaitAll(ctx, claim("k"), claim("m")); return err },
			[]string{"Jobs.TryAwaitAll", "lease"}, 2, []error{lock.ErrHeld, nil}},
		{func() error { _, _, err := jobs.TryAwaitSome(ctx, 1, claim("k"), claim("n")); return err },
			[]string{"Jobs.TryAwaitSome", "lease"}, 2, []error{lock.ErrHeld, nil}},
		{func() error {
			for _, err := range jobs.List(ctx, lock.JobQuery{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, []string{"Jobs.List"}, 0, nil},
	} {
		before := len(tr.all())
		err := step.call()
		traces := tr.all()[before:]
		if got := ops(traces); !slices.Equal(got, step.want) {
			t.Errorf("operations %v, want %v", got, step.want)
			continue
		}
		x := traces[0]
		seen[x.op] = true
		if x.n != step.n || len(x.results) != len(step.errs) || !errors.Is(x.err, err) {
			t.Errorf("%s of %d resources ended with %+v and error %v, want %d results and %v", x.op, x.n, x.results, x.err, len(step.errs), err)
			continue
		}
		for i, want := range step.errs {
			r := x.results[i]
			if r.Resource == "" || !errors.Is(r.Err, want) || want == nil && r.Err != nil {
				t.Errorf("%s: result %d is %+v, want error %v", x.op, i, r, want)
			}
		}
		for _, x := range traces {
			if x.ended > 1 || x.op != "lease" && x.ended == 0 {
				t.Errorf("%s has ended %d times", x.op, x.ended)
			}
		}
	}
	for name := range operations() {
		if !seen[name] {
			t.Errorf("the Tracer is not told of %s", name)
		}
	}
}

// operations are the methods that take a context, but for Watch, which begins
// something, and what is another's: JobLease.Settle is a Jobs.Settle.
func operations() map[string]bool {
	found := map[string]bool{}
	for prefix, v := range map[string]any{"": &lock.Locker{}, "Jobs.": lock.Jobs{}, " ": &lock.Lease{}} {
		for m := range reflect.TypeOf(v).Methods() {
			if m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]() {
				found[fmt.Sprintf("%s%s", prefix, m.Name)] = true
			}
		}
	}
	delete(found, "Watch")
	delete(found, " Release")
	found["Release"] = true
	return found
}

func TestTracersContextIsUsedForTheCallAndNotForTheLease(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	tr := &tracer{}
	l := newLocker(t, s, lock.Config{Owner: "me", Tracer: tr})
	claim := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 3}
	held := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r"}))
	tried := must[*lock.Lease](t)(l.TryHold(ctx, lock.Claim{Resource: "s"}))
	kept := must[[]*lock.Lease](t)(l.Keep(ctx, must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "k")...))...))
	job, _, err := l.Jobs().Await(ctx, claim)
	wantErr(t, err, nil)
	for _, c := range []context.Context{held.Context(), tried.Context(), kept[0].Context(), job.Context()} {
		if parent := c.Value(traceKey{}); parent != nil {
			t.Errorf("a lease's context is that of %v, which has ended", parent)
		}
	}

	over := errors.New("over")
	tr.wrap = func(ctx context.Context, _ string) context.Context {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(over)
		return ctx
	}
	_, err = l.Hold(ctx, lock.Claim{Resource: "r"})
	wantErr(t, err, over)
	_, _, err = l.Jobs().Await(ctx, claim)
	wantErr(t, err, over)
	_, err = l.TryLock(ctx, lock.Claims("me", "free")...)
	wantErr(t, err, over)
}

func TestTracerIsToldHowALeaseEnded(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	tr := &tracer{}
	l := newLocker(t, s, lock.Config{Owner: "me", Tracer: tr})
	released := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "released"}))
	wantErr(t, released.Release(ctx), nil)
	wantErr(t, released.Release(ctx), nil)
	settled, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: "settled"}, MaxAttempts: 1})
	wantErr(t, err, nil)
	wantErr(t, settled.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
	lost := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "lost", TTL: 300 * time.Millisecond}))
	must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("other", "lost")...))
	receive(t, "the lease's end", lost.Context().Done())
	wantErr(t, lost.Release(ctx), lock.ErrLeaseLost)
	twice, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: "settled late"}, TTL: 300 * time.Millisecond, MaxAttempts: 1})
	wantErr(t, err, nil)
	must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("other", "settled late")...))
	receive(t, "the lease's end", twice.Context().Done())
	wantErr(t, twice.Settle(ctx, lock.Settlement{End: lock.Done}), lock.ErrLeaseLost)
	closed := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "closed"}))
	wantErr(t, l.Close(), nil)
	receive(t, "the lease's end", closed.Context().Done())

	ends := map[string]trace{}
	eventually(t, "the ends of all leases", func() bool { // a context ends a moment earlier
		for _, x := range tr.all() {
			if x.op == "lease" && x.ended > 0 {
				ends[x.results[0].Resource] = x
			}
		}
		return len(ends) == 5
	})
	for name, want := range map[string]error{
		"released": nil, "settled": nil, "lost": lock.ErrLeaseLost, "settled late": lock.ErrLeaseLost, "closed": lock.ErrClosed,
	} {
		x, ok := ends[name]
		if !ok || x.ended != 1 || x.n != 1 || !errors.Is(x.err, want) || want == nil && x.err != nil {
			t.Errorf("the lease of %q ended as %+v, want once and %v", name, x, want)
		}
		if ok && (x.results[0].Owner != "me" || x.results[0].Fence == 0) {
			t.Errorf("the lease of %q ended with %+v", name, x.results[0])
		}
	}
}

// TestNoTracerCostsNothing calls what ends before anything is sent, so that nothing else hides what tracing allocates.
func TestNoTracerCostsNothing(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	l := must[*lock.Locker](t)(lock.New(rdb, lock.Config{}))
	wantErr(t, l.Close(), nil)
	ctx, jobs := t.Context(), l.Jobs()
	claims, names := lock.Claims("me", "a"), []string{"a"}
	jobClaims, ids := []lock.JobClaim{{ID: lock.JobID{Key: "a"}, MaxAttempts: 1}}, []lock.JobID{{Key: "a"}}
	settlements := []lock.Settlement{{ID: ids[0]}}
	granted := make([]lock.Result, 1)
	f := func(context.Context, *lock.Lease) error { return nil }
	for name, call := range map[string]func() error{
		"TryLock":           func() error { _, err := l.TryLock(ctx, claims...); return err },
		"TryLockAll":        func() error { _, err := l.TryLockAll(ctx, claims...); return err },
		"ForceLock":         func() error { _, err := l.ForceLock(ctx, claims...); return err },
		"Extend":            func() error { _, err := l.Extend(ctx, claims...); return err },
		"Unlock":            func() error { _, err := l.Unlock(ctx, claims...); return err },
		"ForceUnlock":       func() error { _, err := l.ForceUnlock(ctx, names...); return err },
		"Owners":            func() error { _, err := l.Owners(ctx, names...); return err },
		"Do":                func() error { return l.Do(ctx, claims[0], f) },
		"Hold":              func() error { _, err := l.Hold(ctx, claims[0]); return err },
		"Keep":              func() error { _, err := l.Keep(ctx, granted...); return err },
		"Jobs.Claim":        func() error { _, err := jobs.Claim(ctx, jobClaims...); return err },
		"Jobs.Await":        func() error { _, _, err := jobs.Await(ctx, jobClaims[0]); return err },
		"Jobs.TryAwaitAll":  func() error { _, _, err := jobs.TryAwaitAll(ctx, jobClaims...); return err },
		"Jobs.TryAwaitSome": func() error { _, _, err := jobs.TryAwaitSome(ctx, 1, jobClaims...); return err },
		"Jobs.Settle":       func() error { _, err := jobs.Settle(ctx, settlements...); return err },
		"Jobs.Get":          func() error { _, err := jobs.Get(ctx, ids...); return err },
		"Jobs.Reset":        func() error { return jobs.Reset(ctx, ids...) },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := call(); !errors.Is(err, lock.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}); n != 0 && (name != "ForceUnlock" || n != 1) { // which makes its claims before anything else
			t.Errorf("%s allocates %v times without a Tracer", name, n)
		}
	}
}

type nothing struct{}

func (nothing) Start(ctx context.Context, _ string, _ int) (context.Context, func(lock.Results, error)) {
	return ctx, func(lock.Results, error) {}
}

// BenchmarkTracer shows what tracing costs a call: one that ends before anything is sent.
func BenchmarkTracer(b *testing.B) {
	for name, tr := range map[string]lock.Tracer{"none": nil, "nothing": nothing{}} {
		b.Run(name, func(b *testing.B) {
			rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
			defer rdb.Close()
			l := must[*lock.Locker](b)(lock.New(rdb, lock.Config{Tracer: tr}))
			wantErr(b, l.Close(), nil)
			ctx, claims := b.Context(), lock.Claims("me", "a")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = l.TryLock(ctx, claims...)
			}
		})
	}
}
