package worker_test

// The promises on a real Redis: several Lockers, and nothing in between but what the test puts there.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/status/statustest"
	"github.com/lockingworker/lockingworker/worker"
)

var (
	job     = worker.Job{Key: "job", Run: worker.Once("run")}
	errWork = errors.New("boom")
)

// cluster is where the workers of a test meet.
type cluster struct {
	t         *testing.T
	server    *redistest.Server
	namespace string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	return &cluster{t, server, server.Namespace(t)}
}

// member is a worker with a Locker of its own, as another process has.
type member struct {
	*worker.Worker
	locker  *lock.Locker
	status  *statustest.Recorder
	waits   chan string // the holders that it waited for
	trouble chan error
}

func (c *cluster) member(owner string, cfg worker.Config) *member {
	return c.memberWith(c.server.Client(c.t), owner, cfg)
}

func (c *cluster) memberWith(client redis.UniversalClient, owner string, cfg worker.Config) *member {
	c.t.Helper()
	locker, err := lock.New(client, lock.Config{Namespace: c.namespace, Owner: owner})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = locker.Close() })
	m := &member{locker: locker, status: statustest.New(), waits: make(chan string, 100), trouble: make(chan error, 100)}
	if cfg.RetryDelay == nil {
		cfg.RetryDelay = worker.HandOver
	}
	cfg.StatusLevel = status.Verbose
	cfg.Handlers = worker.Handlers{
		OnStatus: m.status.Record,
		OnLocked: func(_ worker.Job, holder string) { offer(m.waits, holder) },
		OnError:  func(_ worker.Job, err error) { offer(m.trouble, err) },
	}
	m.Worker, err = worker.New(locker, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// offer never blocks: a handler that did would keep its Run for ever.
func offer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// returned is what a Run returned.
type returned struct {
	outcome worker.Outcome
	err     error
}

// run starts a Run, and returns where its end will be told.
func (m *member) run(ctx context.Context, job worker.Job, work worker.Func) <-chan returned {
	ended := make(chan returned, 1)
	go func() {
		outcome, err := m.Run(ctx, job, work)
		ended <- returned{outcome, err}
	}()
	return ended
}

// work is a Func whose attempts wait to be told what to return.
type work struct {
	begun chan worker.Attempt
	end   chan error
}

func newWork() *work { return &work{make(chan worker.Attempt), make(chan error)} }

func (w *work) f(ctx context.Context, a worker.Attempt) error {
	select {
	case w.begun <- a:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-w.end:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bounded ends a test that would hang.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-bounded(t).Done():
		t.Fatal("nothing happens")
		panic("unreachable")
	}
}

func wantEnd(t *testing.T, ended <-chan returned, outcome worker.Outcome, is ...error) {
	t.Helper()
	r := receive(t, ended)
	if r.outcome != outcome || (r.err == nil) != (len(is) == 0) {
		t.Errorf("Run = %v, %v, want %v", r.outcome, r.err, outcome)
	}
	for _, target := range is {
		if !errors.Is(r.err, target) {
			t.Errorf("error %q is not %q", r.err, target)
		}
	}
}

func never(context.Context, worker.Attempt) error { panic("the work must not begin") }

func TestOneWorksAndEverybodyLearnsIt(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	attempt := receive(t, w.begun)
	if attempt.Number != 1 || attempt.Max != 5 || attempt.Last() || attempt.Fence <= 0 || attempt.Job != job {
		t.Errorf("attempt %+v", attempt)
	}
	endB := b.run(ctx, job, never)
	if holder := receive(t, b.waits); holder != "a" {
		t.Errorf("b waits for %q", holder)
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)
	wantEnd(t, c.member("late", worker.Config{}).run(ctx, job, never), worker.CompletedElsewhere)

	if _, err := a.Acquire(ctx, job); !errors.Is(err, worker.ErrDone) {
		t.Errorf("Acquire: %v", err)
	}
	info, err := b.State(ctx, job)
	if err != nil || info.State != lock.JobDone || info.Owner != "a" || info.Attempt != 1 || info.Fence != attempt.Fence {
		t.Errorf("State = %+v, %v", info, err)
	}
	if e, err := b.status.Wait(ctx, status.KindCompletedElsewhere); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
}

func TestFailureHandsOverToWhoWaits(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	wa, wb := newWork(), newWork()
	endA := a.run(ctx, job, wa.f)
	first := receive(t, wa.begun)
	endB := b.run(ctx, job, wb.f)
	receive(t, b.waits)

	wa.end <- errWork
	second := receive(t, wb.begun)
	if second.Number != 2 || second.Fence <= first.Fence {
		t.Errorf("after %+v came %+v", first, second)
	}
	receive(t, a.waits) // a stands behind b
	wb.end <- errWork
	if third := receive(t, wa.begun); third.Number != 3 || third.Fence <= second.Fence {
		t.Errorf("after %+v came %+v", second, third)
	}
	wa.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)

	info, err := a.State(ctx, job)
	if err != nil || len(info.Attempts) != 3 {
		t.Fatalf("State = %+v, %v", info, err)
	}
	for i, want := range []string{"a failed boom", "b failed boom", "a done "} {
		at := info.Attempts[i]
		if got := at.Owner + " " + at.End + " " + at.Cause; got != want {
			t.Errorf("attempt %d: %q, want %q", i+1, got, want)
		}
	}
	if e, err := b.status.Wait(ctx, status.KindNotCompleted); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
}

func TestExhausted(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{MaxAttempts: 2}), c.member("b", worker.Config{MaxAttempts: 2})
	wa, wb := newWork(), newWork()
	endA := a.run(ctx, job, wa.f)
	receive(t, wa.begun)
	endB := b.run(ctx, job, wb.f)
	receive(t, b.waits)
	wa.end <- errors.New("first")
	if !receive(t, wb.begun).Last() {
		t.Error("the second of two is the last")
	}
	wb.end <- errWork
	wantEnd(t, endB, worker.Exhausted, worker.ErrExhausted, errWork)
	r := receive(t, endA)
	var exhausted *worker.ExhaustedError
	if r.outcome != worker.Exhausted || !errors.As(r.err, &exhausted) || exhausted.Attempts != 2 ||
		exhausted.Cause != "boom" || exhausted.Err != nil || exhausted.Job != job {
		t.Errorf("a: %v, %+v", r.outcome, r.err)
	}
	wantEnd(t, c.member("late", worker.Config{MaxAttempts: 2}).run(ctx, job, never), worker.Exhausted, worker.ErrExhausted)

	// A larger maximum lifts it.
	more := c.member("more", worker.Config{MaxAttempts: 3})
	grant, err := more.Acquire(ctx, job)
	if err != nil || grant.Attempt().Number != 3 {
		t.Fatalf("Acquire = %v, %v", grant, err)
	}
	if err := grant.Done(ctx); err != nil {
		t.Error(err)
	}
}

func TestPermanentFailureEndsItForEverybody(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{MaxAttempts: 100})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	receive(t, b.waits)
	w.end <- worker.Permanent(errWork)
	wantEnd(t, endA, worker.Exhausted, errWork)
	wantEnd(t, endB, worker.Exhausted, worker.ErrExhausted)

	if err := b.Reset(ctx, job); err != nil {
		t.Fatal(err)
	}
	if info, err := b.State(ctx, job); err != nil || info.State != lock.JobAbsent || info.Attempt != 0 {
		t.Errorf("after Reset: %+v, %v", info, err)
	}
	endB = b.run(ctx, job, w.f)
	if first := receive(t, w.begun); first.Number != 1 {
		t.Errorf("after Reset: attempt %d", first.Number)
	}
	if err := a.Reset(ctx, job); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("Reset while held: %v", err)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
}

func TestInterruptedHandsOverUncounted(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{MaxAttempts: 1}), c.member("b", worker.Config{MaxAttempts: 1})
	w := newWork()
	deploy := errors.New("deploy")
	ctxA, cancel := context.WithCancelCause(ctx)
	endA := a.run(ctxA, job, w.f)
	first := receive(t, w.begun)
	endB := b.run(ctx, job, w.f)
	receive(t, b.waits)
	cancel(deploy)
	second := receive(t, w.begun)
	wantEnd(t, endA, worker.Interrupted, deploy)
	if second.Number != 1 || second.Fence <= first.Fence {
		t.Errorf("after %+v, given back, came %+v", first, second)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
}

func TestInterruptedWaiterLeavesNothing(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	ctxB, cancel := context.WithCancel(ctx)
	endB := b.run(ctxB, job, never)
	receive(t, b.waits)
	cancel()
	wantEnd(t, endB, worker.Interrupted, context.Canceled, lock.ErrHeld)
	w.end <- errWork // nobody waits: a is next itself
	if second := receive(t, w.begun); second.Number != 2 {
		t.Errorf("attempt %d", second.Number)
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
}

func TestHeldElsewhere(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	grant, err := c.member("a", worker.Config{}).Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	for name, maxWait := range map[string]time.Duration{"at once": worker.NoWait, "soon": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := c.member("b", worker.Config{MaxWait: maxWait})
			wantEnd(t, b.run(ctx, job, never), worker.HeldElsewhere, lock.ErrHeld)
			if holder := receive(t, b.waits); holder != "a" {
				t.Errorf("held by %q", holder)
			}
		})
	}
	if err := grant.GiveBack(ctx); err != nil {
		t.Error(err)
	}
	if info, err := c.member("c", worker.Config{}).State(ctx, job); err != nil || info.Attempt != 0 {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func TestDelayAfterFailureIsKept(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	const delay = 50 * time.Millisecond
	a := c.member("a", worker.Config{RetryDelay: func(worker.Attempt, error) time.Duration { return delay }})
	var begun []time.Time
	outcome, err := a.Run(ctx, job, func(_ context.Context, at worker.Attempt) error {
		if begun = append(begun, time.Now()); at.Number == 1 {
			return errWork
		}
		return nil
	})
	if outcome != worker.Completed || err != nil || len(begun) != 2 {
		t.Fatalf("Run = %v, %v after %d attempts", outcome, err, len(begun))
	}
	if waited := begun[1].Sub(begun[0]); waited < delay {
		t.Errorf("the second attempt began %v after the first, which said %v", waited, delay)
	}
}

func TestDeadWorkerIsReplaced(t *testing.T) {
	t.Parallel() // it lasts as long as a lease, which is long enough to be renewed on a busy machine
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: time.Second}
	a, b := c.member("a", short), c.member("b", short)
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, w.f)
	receive(t, b.waits)
	if err := a.locker.Close(); err != nil { // renews and releases no more, as if it had died
		t.Fatal(err)
	}
	wantEnd(t, endA, 0, lock.ErrClosed)
	if second := receive(t, w.begun); second.Number != 2 {
		t.Errorf("attempt %d", second.Number)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
	if e, err := b.status.Wait(ctx, status.KindNotCompleted); err != nil || e.Attempt != 1 {
		t.Errorf("b was told %+v, %v", e, err)
	}
	if info, err := b.State(ctx, job); err != nil || info.Attempts[0].End != "lapsed" {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func TestLeaseIsRenewedWhileTheWorkRuns(t *testing.T) {
	t.Parallel() // as above
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: time.Second}
	a, b := c.member("a", short), c.member("b", short)
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	for range 2 { // b looks again when the lease would be over
		if _, err := b.status.Wait(ctx, status.KindChecking); err != nil {
			t.Fatal(err)
		}
	}
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	wantEnd(t, endB, worker.CompletedElsewhere)
}

func TestStaleHolderCannotSettleForAnother(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	short := worker.Config{TTL: 300 * time.Millisecond}
	a, b := c.member("a", short), c.member("b", worker.Config{})
	stale, err := a.Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.locker.ForceUnlock(ctx, job.Key); err != nil {
		t.Fatal(err)
	}
	grant, err := b.Acquire(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.Done(ctx); !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("stale Done: %v", err)
	}
	receive(t, stale.Context().Done())
	if cause := context.Cause(stale.Context()); cause != lock.ErrLeaseLost {
		t.Errorf("stale context: %v", cause)
	}
	if info, err := b.State(ctx, job); err != nil || info.State != lock.JobRunning || info.Owner != "b" {
		t.Errorf("State = %+v, %v", info, err)
	}
	if err := grant.Done(ctx); err != nil {
		t.Error(err)
	}
}

func TestRunsOfOneJobExcludeEachOther(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	today := worker.Job{Key: "job", Run: worker.Daily(time.Now())}
	tomorrow := worker.Job{Key: "job", Run: worker.Daily(time.Now().Add(24 * time.Hour))}
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	w := newWork()
	endA := a.run(ctx, today, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, tomorrow, w.f)
	receive(t, b.waits)
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
	if first := receive(t, w.begun); first.Number != 1 || first.Job != tomorrow {
		t.Errorf("attempt %+v", first)
	}
	w.end <- nil
	wantEnd(t, endB, worker.Completed)
	wantEnd(t, a.run(ctx, tomorrow, never), worker.CompletedElsewhere)
}

func TestOutageIsSatOut(t *testing.T) {
	t.Parallel() // it lasts more than a second until a Locker says that Redis is out of reach
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := c.memberWith(clientThrough(t, c, proxy), "a", worker.Config{})
	proxy.Refuse(true)
	w := newWork()
	ended := a.run(bounded(t), job, w.f)
	if err := receive(t, a.trouble); !errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("OnError: %v", err)
	}
	proxy.Heal()
	if first := receive(t, w.begun); first.Number != 1 {
		t.Errorf("attempt %d", first.Number)
	}
	w.end <- nil
	wantEnd(t, ended, worker.Completed)
}

func TestDoneWhoseReplyIsLost(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := c.memberWith(clientThrough(t, c, proxy), "a", worker.Config{})
	var loss *redistest.Loss
	outcome, err := a.Run(ctx, job, func(context.Context, worker.Attempt) error {
		loss = proxy.DropReplies(redistest.Named("evalsha", "eval"), 1, redistest.ThenCut)
		return nil
	})
	if outcome != worker.Completed || err != nil {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	receive(t, loss.Done())
	if info, err := a.State(ctx, job); err != nil || info.State != lock.JobDone || info.Attempt != 1 {
		t.Errorf("State = %+v, %v", info, err)
	}
}

func clientThrough(t *testing.T, c *cluster, proxy *redistest.Proxy) *redis.Client {
	t.Helper()
	options := c.server.Options()
	options.Addr = proxy.Addr()
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestWrongPasswordEndsRun(t *testing.T) {
	c := newCluster(t)
	options := c.server.Options()
	options.Username, options.Password = "nobody", "secret"
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	a := c.memberWith(client, "a", worker.Config{})
	outcome, err := a.Run(bounded(t), job, never)
	if outcome != 0 || err == nil || errors.Is(err, lock.ErrUnavailable) {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	if reported := receive(t, a.trouble); reported != err {
		t.Errorf("OnError: %v, want %v", reported, err)
	}
}

func TestClosedLockerEndsRun(t *testing.T) {
	c := newCluster(t)
	ctx := bounded(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{MaxWait: time.Hour})
	w := newWork()
	endA := a.run(ctx, job, w.f)
	receive(t, w.begun)
	endB := b.run(ctx, job, never)
	receive(t, b.waits)
	if err := b.locker.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, endB, 0, lock.ErrClosed)
	wantEnd(t, b.run(ctx, job, never), 0, lock.ErrClosed)
	w.end <- nil
	wantEnd(t, endA, worker.Completed)
}
