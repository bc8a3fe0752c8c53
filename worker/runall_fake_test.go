package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// fakeRedis keeps jobs as Redis does, on the clock of the bubble.
type fakeRedis struct {
	t    *testing.T
	trip time.Duration                           // how long a call takes
	more int                                     // how many more than wanted are granted, as on several shards
	fail func(claim lock.JobClaim) error         // nil, or what a claim comes to instead
	lose func(id lock.JobID, end lock.End) error // nil, or what a settlement comes to instead

	mu      sync.Mutex
	records map[lock.JobID]*lock.JobInfo
	leases  map[string]*fakeLease // by key
	fence   int64
	held    int   // leases that are
	most    int   // at the same time
	calls   []int // how many claims came in each call
	claimed map[lock.JobID]int
	back    []int // how many grants were given back in each call
	settled []int // how many attempts were settled in each
}

func newRunAll(t *testing.T, cfg Config) (*Worker, *fakeRedis, *results) {
	t.Helper()
	r := &results{byKey: make(map[string][]Result)}
	cfg.Handlers.OnResult = r.add
	cfg.StatusLevel = status.Silent
	cfg, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRedis{
		t: t, trip: time.Millisecond, records: make(map[lock.JobID]*lock.JobInfo), leases: make(map[string]*fakeLease),
		claimed: make(map[lock.JobID]int),
	}
	return &Worker{cfg: cfg, jobs: f, owner: "me"}, f, r
}

// results has what OnResult was told. Handlers of one RunAll are called one after another, so it has no lock.
type results struct {
	byKey map[string][]Result
	n     int
}

func (r *results) add(result Result) {
	r.n++
	r.byKey[result.Job.Key] = append(r.byKey[result.Job.Key], result)
}

// outcome is that of the only result for a key.
func (r *results) outcome(t *testing.T, key string) Outcome {
	t.Helper()
	if rs := r.byKey[key]; len(rs) != 1 {
		t.Errorf("%d results for %q: %v", len(rs), key, rs)
		return 0
	}
	return r.byKey[key][0].Outcome
}

func (f *fakeRedis) record(id lock.JobID) *lock.JobInfo {
	if f.records[id] == nil {
		f.records[id] = &lock.JobInfo{ID: id}
	}
	return f.records[id]
}

// set says what is known of a job before.
func (f *fakeRedis) set(key string, state lock.JobState, attempts int) {
	id := lock.JobID{Key: key}
	info := record(state, "other", attempts)
	info.ID = id
	f.records[id] = &info
}

// hold has another hold a job for so long; then the worker has died, or, with done, has it done.
func (f *fakeRedis) hold(key string, d time.Duration, done bool) {
	f.set(key, lock.JobRunning, 1)
	l := newLease(*f.records[lock.JobID{Key: key}])
	l.until = time.Now().Add(d)
	f.leases[key] = l
	time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.leases, key)
		state := lock.JobFailed
		if done {
			state = lock.JobDone
		}
		f.record(lock.JobID{Key: key}).State = state
	})
}

func (f *fakeRedis) TryAwaitSome(ctx context.Context, n int, claims []lock.JobClaim) ([]lease, []lock.JobResult, error) {
	leases, answers := make([]lease, len(claims)), make([]lock.JobResult, len(claims))
	select {
	case <-time.After(f.trip):
	case <-ctx.Done():
		for i := range answers {
			answers[i].Grant.Err = context.Cause(ctx)
		}
		return leases, answers, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, len(claims))
	n += f.more
	seen := make(map[string]bool)
	var failed error
	for i, c := range claims {
		if seen[c.ID.Key] {
			f.t.Errorf("%q stands twice in a claim", c.ID.Key)
		}
		seen[c.ID.Key] = true
		if n <= 0 && !f.refuses(c) {
			answers[i].Grant.Err, failed = lock.ErrEnough, lock.ErrEnough
			continue
		}
		f.claimed[c.ID]++
		l, answer := f.answer(c)
		if answers[i] = answer; l != nil {
			leases[i] = l
			n--
		} else {
			failed = answer.Grant.Err
		}
	}
	return leases, answers, failed
}

// refuses tells whether it is known without a grant that a job is not to be had.
func (f *fakeRedis) refuses(c lock.JobClaim) bool {
	job := f.record(c.ID)
	return job.State == lock.JobDone || job.State == lock.JobExhausted || f.leases[c.ID.Key] != nil
}

func (f *fakeRedis) answer(c lock.JobClaim) (*fakeLease, lock.JobResult) {
	job := f.record(c.ID)
	refused := func(err error) (*fakeLease, lock.JobResult) {
		return nil, lock.JobResult{Grant: lock.Result{Err: err}, Job: *job}
	}
	if f.fail != nil {
		if err := f.fail(c); err != nil {
			return refused(err)
		}
	}
	switch l := f.leases[c.ID.Key]; {
	case job.State == lock.JobDone && job.Attempt == 1: // as much as Redis then tells
		_, answer := refused(lock.ErrJobDone)
		answer.Job = lock.JobInfo{ID: c.ID, State: lock.JobDone, Attempt: 1}
		return nil, answer
	case job.State == lock.JobDone:
		return refused(lock.ErrJobDone)
	case job.State == lock.JobExhausted:
		return refused(lock.ErrJobExhausted)
	case l != nil:
		_, answer := refused(lock.ErrHeld)
		answer.Grant.Owner, answer.Grant.Fence, answer.Grant.TTL = "other", l.job.Fence, l.left()
		return nil, answer
	case job.NotBefore.After(time.Now()):
		return refused(lock.ErrTooEarly)
	case job.Attempt >= c.MaxAttempts:
		job.State = lock.JobExhausted
		return refused(lock.ErrJobExhausted)
	}
	f.fence++
	job.State, job.Owner, job.Fence, job.NotBefore = lock.JobRunning, "me", f.fence, time.Time{}
	job.Attempt++
	job.Attempts = append(slices.Clone(job.Attempts), lock.AttemptInfo{Number: job.Attempt, Fence: job.Fence})
	l := newLease(*job)
	l.settle = func(_ context.Context, s lock.Settlement) error { return f.settle(l, c, s) }
	f.leases[c.ID.Key] = l
	f.held++
	f.most = max(f.most, f.held)
	return l, lock.JobResult{Grant: l.Grant(), Job: *job}
}

// settle ends an attempt, if it still has the lock.
func (f *fakeRedis) settle(l *fakeLease, c lock.JobClaim, s lock.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leases[c.ID.Key] != l {
		return lock.ErrLeaseLost
	}
	var lost error
	if f.lose != nil {
		lost = f.lose(c.ID, s.End)
	}
	job := f.record(c.ID)
	switch s.End {
	case lock.Done:
		job.State = lock.JobDone
	case lock.Exhausted:
		job.State = lock.JobExhausted
	case lock.Returned:
		job.State = lock.JobFailed
		job.Attempt--
	default:
		job.State, job.Cause, job.NotBefore = lock.JobFailed, s.Cause, time.Now().Add(s.Delay)
		if job.Attempt >= c.MaxAttempts {
			job.State = lock.JobExhausted
		}
	}
	delete(f.leases, c.ID.Key)
	f.held--
	return lost
}

// take has a lease be lost: another has its lock for so long.
func (f *fakeRedis) take(key string, d time.Duration) {
	f.mu.Lock()
	l := f.leases[key]
	f.held--
	f.hold(key, d, false)
	f.mu.Unlock()
	l.end(lock.ErrLeaseLost)
}

func (f *fakeRedis) SettleAll(ctx context.Context, leases []lease, settlements []lock.Settlement) []error {
	errs := make([]error, len(leases))
	back := 0
	for i, l := range leases {
		errs[i] = l.Settle(ctx, settlements[i])
		if settlements[i].End == lock.Returned {
			back++
		}
	}
	f.mu.Lock()
	f.settled = append(f.settled, len(leases))
	if back > 0 {
		f.back = append(f.back, back)
	}
	f.mu.Unlock()
	time.Sleep(f.trip) // the way back
	return errs
}

func (f *fakeRedis) Get(_ context.Context, ids ...lock.JobID) ([]lock.JobInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []lock.JobInfo{*f.record(ids[0])}, nil
}

func (f *fakeRedis) Await(context.Context, lock.JobClaim) (lease, lock.JobResult, error) {
	panic("RunAll waits for a single job")
}

func (f *fakeRedis) TryAwait(context.Context, lock.JobClaim) (lease, lock.JobResult, error) {
	panic("RunAll claims a single job")
}

func (f *fakeRedis) Reset(context.Context, ...lock.JobID) error { panic("RunAll resets nothing") }

// keys is a sequence of jobs with these keys.
func keys(names ...string) func(yield func(Job) bool) {
	return func(yield func(Job) bool) {
		for _, name := range names {
			if !yield(Job{Key: name}) {
				return
			}
		}
	}
}

// numbered are n keys.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("job-%d", i)
	}
	return names
}

// endless is a sequence without an end. It counts what it has yielded.
func endless(n *int) func(yield func(Job) bool) {
	return func(yield func(Job) bool) {
		for yield(Job{Key: fmt.Sprintf("job-%d", *n)}) {
			*n++
		}
	}
}

// done is how often each job was worked on.
type done struct {
	mu    sync.Mutex
	times map[Job]int
	now   int // works at the moment
	most  int
}

// takes is work that takes so long.
func (d *done) takes(each time.Duration) Func {
	return func(ctx context.Context, a Attempt) error {
		d.mu.Lock()
		if d.times == nil {
			d.times = make(map[Job]int)
		}
		d.times[a.Job]++
		d.now++
		d.most = max(d.most, d.now)
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.now--
		}()
		if each == 0 {
			return nil
		}
		select {
		case <-time.After(each):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *done) wantOnce(t *testing.T, n int) {
	t.Helper()
	if len(d.times) != n {
		t.Errorf("%d jobs were worked on, want %d", len(d.times), n)
	}
	for job, times := range d.times {
		if times != 1 {
			t.Errorf("%v was worked on %d times", job, times)
		}
	}
}

func wantSummary(t *testing.T, got, want Summary) {
	t.Helper()
	if got != want {
		t.Errorf("summary %+v, want %+v", got, want)
	}
}

func sum(ns []int) int {
	total := 0
	for _, n := range ns {
		total += n
	}
	return total
}
