package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// errRefused is an error of Redis that no repetition would mend.
var errRefused = errors.New("NOPERM")

var testJob = Job{Key: "job", Run: Run{Name: "run"}}

// fakeJobs plays the Locker: every claim takes the next step of the script, and one more than there
// are fails the test.
type fakeJobs struct {
	t      *testing.T
	record func(id lock.JobID) (lock.JobInfo, error)

	mu     sync.Mutex
	script []step
	claims []lock.JobClaim
	tries  int // claims that were TryAwait
}

type step func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error)

func (f *fakeJobs) Await(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
	f.mu.Lock()
	f.claims = append(f.claims, claim)
	if len(f.script) == 0 {
		f.mu.Unlock()
		f.t.Error("one claim too many")
		return nil, lock.JobResult{}, errRefused
	}
	next := f.script[0]
	f.script = f.script[1:]
	f.mu.Unlock()
	return next(ctx, claim)
}

func (f *fakeJobs) TryAwait(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
	f.tries++
	return f.Await(ctx, claim)
}

// TryAwaitSome and SettleAll are RunAll's, whose tests have a Redis of their own.
func (f *fakeJobs) TryAwaitSome(context.Context, int, []lock.JobClaim) ([]lease, []lock.JobResult, error) {
	f.t.Error("a collection is claimed")
	return nil, nil, errRefused
}

func (f *fakeJobs) SettleAll(context.Context, []lease, []lock.Settlement) []error {
	panic("nothing was claimed as a collection")
}

func (f *fakeJobs) Get(_ context.Context, ids ...lock.JobID) ([]lock.JobInfo, error) {
	info, err := f.record(ids[0])
	return []lock.JobInfo{info}, err
}

func (f *fakeJobs) Reset(context.Context, ...lock.JobID) error { return lock.ErrHeld }

// fakeLease is kept until somebody ends it.
type fakeLease struct {
	ctx    context.Context
	end    context.CancelCauseFunc
	job    lock.JobInfo
	ttl    time.Duration
	until  time.Time                                          // when it ends, if that is not ttl from now
	settle func(ctx context.Context, s lock.Settlement) error // nil: it is recorded

	mu      sync.Mutex
	settled []lock.Settlement
	gone    bool
}

func newLease(job lock.JobInfo) *fakeLease {
	l := &fakeLease{job: job, ttl: DefaultTTL}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

func (l *fakeLease) Context() context.Context { return l.ctx }
func (l *fakeLease) Job() lock.JobInfo        { return l.job }
func (l *fakeLease) Deadline() time.Time      { return time.Now().Add(l.left()) }
func (l *fakeLease) left() time.Duration {
	if !l.until.IsZero() {
		return time.Until(l.until)
	}
	return l.ttl
}
func (l *fakeLease) Grant() lock.Result {
	return lock.Result{Resource: "job", Owner: "me", Fence: l.job.Fence, TTL: l.ttl}
}

func (l *fakeLease) Settle(ctx context.Context, s lock.Settlement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = append(l.settled, s)
	if l.settle != nil {
		if err := l.settle(ctx, s); err != nil {
			return err
		}
	}
	l.end(lock.ErrReleased)
	return nil
}

func (l *fakeLease) Lapse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.gone = true
		time.AfterFunc(l.ttl, func() { l.end(lock.ErrLeaseLost) })
	}
}

func (l *fakeLease) lapsed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

func (l *fakeLease) ends() []lock.End {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ends []lock.End
	for _, s := range l.settled {
		ends = append(ends, s.End)
	}
	return ends
}

// record is a job's record whose attempts have the fences 1001, 1002 and so on.
func record(state lock.JobState, owner string, attempts int) lock.JobInfo {
	info := lock.JobInfo{State: state, Owner: owner, Attempt: attempts}
	for n := range attempts {
		info.Fence = int64(1001 + n)
		info.Attempts = append(info.Attempts, lock.AttemptInfo{Number: n + 1, Fence: info.Fence})
	}
	return info
}

func attempt(n int) *fakeLease { return newLease(record(lock.JobRunning, "me", n)) }

// Steps of a script.

func grants(l *fakeLease) step {
	return func(ctx context.Context, _ lock.JobClaim) (lease, lock.JobResult, error) {
		return l, lock.JobResult{Grant: l.Grant(), Job: l.job}, nil
	}
}

func answers(err error, job lock.JobInfo) step {
	return func(context.Context, lock.JobClaim) (lease, lock.JobResult, error) {
		return nil, lock.JobResult{Grant: lock.Result{Err: err}, Job: job}, err
	}
}

// held is the answer that owner has the lock, or, for "", that it is offered to another waiter.
func held(owner string, job lock.JobInfo) lock.JobResult {
	return lock.JobResult{Grant: lock.Result{Owner: owner, Fence: job.Fence, Err: lock.ErrHeld}, Job: job}
}

func tooEarly(job lock.JobInfo) lock.JobResult {
	return lock.JobResult{Grant: lock.Result{Err: lock.ErrTooEarly}, Job: job}
}

// waits plays a waiter that sees the answers one after another, a second apart, and then goes on with
// the step; without one it waits until its context ends. A nil answer is an outage.
func waits(then step, results ...*lock.JobResult) step {
	return func(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
		var last lock.JobResult
		for i, r := range results {
			if i > 0 {
				claim.OnLook(lock.Look{Again: true, Result: last})
			}
			if r == nil {
				claim.OnLook(lock.Look{Err: lock.ErrUnavailable})
			} else {
				last = *r
				claim.OnLook(lock.Look{Result: last})
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil, last, errors.Join(context.Cause(ctx), last.Grant.Err)
			}
		}
		if then == nil {
			<-ctx.Done()
			return nil, last, errors.Join(context.Cause(ctx), last.Grant.Err)
		}
		claim.OnLook(lock.Look{Again: true, Result: last})
		return then(ctx, claim)
	}
}

func one(r lock.JobResult) *lock.JobResult { return &r }

// calls writes down which handlers were called.
type calls struct {
	mu    sync.Mutex
	lines []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n") // no stacks
	c.lines = append(c.lines, line)
}

func (c *calls) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

func (c *calls) handlers() Handlers {
	return Handlers{
		OnAcquired:    func(a Attempt) { c.add("acquired #%d", a.Number) },
		OnDone:        func(a Attempt) { c.add("done #%d", a.Number) },
		OnLost:        func(a Attempt) { c.add("lost #%d", a.Number) },
		OnLocked:      func(_ Job, holder string) { c.add("locked by %q", holder) },
		OnFailed:      func(a Attempt, err error) { c.add("failed #%d: %v", a.Number, err) },
		OnMaxAttempts: func(_ Job, err error) { c.add("max attempts: %v", err) },
		OnResult:      func(r Result) { c.add("result %v %d", r.Outcome, r.Attempts) },
		OnStatus:      func(e status.Event) { c.add("%v", e) },
		OnError:       func(_ Job, err error) { c.add("error: %v", err) },
	}
}

// newFake makes a worker whose Locker plays the script. Its handlers write to calls; status events are
// off unless the configuration says otherwise.
func newFake(t *testing.T, cfg Config, script ...step) (*Worker, *fakeJobs, *calls) {
	t.Helper()
	c := &calls{}
	cfg.Handlers = c.handlers()
	if cfg.StatusLevel == status.Normal {
		cfg.StatusLevel = status.Silent
	}
	cfg, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeJobs{t: t, script: script}
	t.Cleanup(func() {
		if len(f.script) > 0 {
			t.Errorf("%d steps were not taken", len(f.script))
		}
	})
	return &Worker{cfg: cfg, jobs: f, owner: "me"}, f, c
}

func wantCalls(t *testing.T, c *calls, want ...string) {
	t.Helper()
	if got := c.list(); !slices.Equal(got, want) {
		t.Errorf("handlers:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func wantEnds(t *testing.T, l *fakeLease, want ...lock.End) {
	t.Helper()
	if got := l.ends(); !slices.Equal(got, want) {
		t.Errorf("attempt #%d was settled as %v, want %v", l.job.Attempt, got, want)
	}
}

// wantIs checks that err is all of the targets.
func wantIs(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q is not %q", err, target)
		}
	}
}

var errWork = errors.New("boom")

func succeed(context.Context, Attempt) error { return nil }
func fail(context.Context, Attempt) error    { return errWork }
func never(context.Context, Attempt) error   { panic("the work must not begin") }

// untilEnded is work that looks at its context and returns its cause.
func untilEnded(ctx context.Context, _ Attempt) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
