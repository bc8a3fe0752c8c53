package cronworker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/contrib/cronworker"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

func TestTenTicksTenRuns(t *testing.T) {
	t.Parallel()
	const ticks, members = 10, 3
	c := newCluster(t)
	var mu sync.Mutex
	worked := map[time.Time]int{}
	for _, name := range []string{"a", "b", "c"} {
		m := c.member(name, worker.Config{}, cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger)))
		m.schedule(grid(150*time.Millisecond), m.task(func(ctx context.Context, a worker.Attempt) error {
			mu.Lock()
			defer mu.Unlock()
			worked[cronworker.Tick(ctx)]++
			if want := cronworker.Tick(ctx).UTC().Format(time.RFC3339Nano); a.Job.Run.Name != want {
				t.Errorf("run %q at %q", a.Job.Run.Name, want)
			}
			return nil
		}))
		m.cron.Start()
	}

	completed, came := map[time.Time]int{}, map[string]int{}
	for len(came) < members || len(completed) < ticks || min(came["a"], came["b"], came["c"]) < ticks {
		r := receive(t, c.results)
		if r.Err != nil {
			t.Errorf("%s at %v: %v, %v", r.who, r.Tick, r.Outcome, r.Err)
		}
		came[r.who]++
		switch r.Outcome {
		case worker.Completed:
			completed[r.Tick]++
		case worker.CompletedElsewhere:
			completed[r.Tick] += 0
		default:
			t.Errorf("%s at %v: %v", r.who, r.Tick, r.Outcome)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for tick, n := range worked {
		if n != 1 || completed[tick] > 1 {
			t.Errorf("%v: work was done %d times, %d completed it", tick, n, completed[tick])
		}
	}
	if len(worked) < ticks {
		t.Errorf("%d ticks were worked for, of %d", len(worked), len(completed))
	}
	t.Logf("%d ticks, %d runs; came: %v", len(completed), len(worked), came)
}

func TestFailingTaskIsRetriedElsewhere(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	type attempt struct {
		who string
		worker.Attempt
	}
	attempts, waiting := make(chan attempt, 100), make(chan string, 100)
	for _, name := range []string{"a", "b", "c"} {
		m := c.member(name, worker.Config{Handlers: worker.Handlers{
			OnLocked: func(worker.Job, string) { waiting <- name },
		}})
		m.schedule(grid(rare), m.task(func(_ context.Context, a worker.Attempt) error {
			attempts <- attempt{name, a}
			if a.Number < 3 {
				for range 2 * (2 - a.Number) { // at the first, until the others wait
					receive(t, waiting)
				}
				return errors.New("no luck")
			}
			return nil
		}))
		go m.cron.Entries()[0].WrappedJob.Run() // the tick of this hour, all at once
	}
	seen := map[string]bool{}
	var run string
	for n := 1; n <= 3; n++ {
		a := receive(t, attempts)
		if a.Number != n || seen[a.who] || a.Job.Run.Name == "" || (run != "" && a.Job.Run.Name != run) {
			t.Errorf("attempt %d: %+v", n, a)
		}
		seen[a.who], run = true, a.Job.Run.Name
	}
	outcomes := map[worker.Outcome]int{}
	for range 3 {
		r := receive(t, c.results)
		if r.Err != nil || r.Job.Run.Name != run || r.Job.Key != "job" {
			t.Errorf("%+v", r)
		}
		outcomes[r.Outcome]++
	}
	if outcomes[worker.Completed] != 1 || outcomes[worker.CompletedElsewhere] != 2 {
		t.Error(outcomes)
	}
}

func TestExhaustedReachesEverybody(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	broken := errors.New("broken")
	for _, name := range []string{"a", "b"} {
		m := c.member(name, worker.Config{MaxAttempts: 2})
		m.schedule(grid(rare), m.task(func(context.Context, worker.Attempt) error { return broken }))
		go m.cron.Entries()[0].WrappedJob.Run()
	}
	for range 2 {
		r := receive(t, c.results)
		var exhausted *worker.ExhaustedError
		if r.Outcome != worker.Exhausted || !errors.As(r.Err, &exhausted) || exhausted.Cause != "broken" || exhausted.Attempts != 2 {
			t.Errorf("%+v", r)
		}
	}
}

// The lease is lost while the process works: its work is cancelled, and another process does the tick.
func TestLostLeaseCancelsTheWork(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	begun, cancelled := make(chan struct{}), make(chan error, 1)

	a := c.memberThrough(proxy, "a", worker.Config{TTL: 400 * time.Millisecond})
	a.schedule(grid(rare), a.task(func(ctx context.Context, _ worker.Attempt) error {
		proxy.Stall(redistest.Both)
		close(begun)
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return context.Cause(ctx)
	}))
	go a.cron.Entries()[0].WrappedJob.Run()
	receive(t, begun)

	b := c.member("b", worker.Config{})
	worked := make(chan worker.Attempt, 1)
	b.schedule(grid(rare), b.task(func(_ context.Context, attempt worker.Attempt) error {
		worked <- attempt
		return nil
	}))
	go b.cron.Entries()[0].WrappedJob.Run()
	if err := receive(t, cancelled); !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("the work's context ended with %v", err)
	}
	if attempt := receive(t, worked); attempt.Number != 2 {
		t.Errorf("attempt %d", attempt.Number)
	}
	first := receive(t, c.results)
	proxy.Heal()
	proxy.Cut()
	second := receive(t, c.results)
	if first.who != "b" || first.Outcome != worker.Completed || second.who != "a" || second.Outcome != worker.CompletedElsewhere || second.Job != first.Job {
		t.Errorf("%+v, then %+v", first, second)
	}
}

// Stop interrupts the work, and its attempt is given back.
func TestStopInterruptsAndGivesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	begun, waiting := make(chan struct{}), make(chan struct{})
	a := c.member("a", worker.Config{})
	a.schedule(grid(rare), a.task(func(ctx context.Context, _ worker.Attempt) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	a.cron.Start()
	go a.cron.Entries()[0].WrappedJob.Run()
	receive(t, begun)

	b := c.member("b", worker.Config{Handlers: worker.Handlers{OnLocked: func(worker.Job, string) { close(waiting) }}})
	b.schedule(grid(rare), b.task(func(_ context.Context, a worker.Attempt) error {
		if a.Number != 1 {
			t.Errorf("attempt %d: the first was not given back", a.Number)
		}
		return nil
	}))
	go b.cron.Entries()[0].WrappedJob.Run()
	receive(t, waiting)

	a.stop()
	for range 2 {
		switch r := receive(t, c.results); {
		case r.who == "a" && r.Outcome == worker.Interrupted && errors.Is(r.Err, cronworker.ErrStopped):
		case r.who == "b" && r.Outcome == worker.Completed && r.Err == nil:
		default:
			t.Errorf("%+v", r)
		}
	}
	a.cron.Entries()[0].WrappedJob.Run() // after the end nothing is begun
	if r := receive(t, c.results); r.who != "a" || r.Outcome != worker.Interrupted {
		t.Errorf("%+v", r)
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	begun, end := make(chan struct{}), make(chan struct{})
	m := c.member("a", worker.Config{})
	m.schedule(grid(50*time.Millisecond), m.task(func(context.Context, worker.Attempt) error {
		select {
		case <-begun:
		default:
			close(begun)
		}
		<-end // whatever becomes of its context
		return nil
	}))
	m.cron.Start()
	receive(t, begun)
	impatient := errors.New("impatient")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(impatient)
	if err := m.tasks.Stop(ctx); !errors.Is(err, impatient) {
		t.Errorf("Stop: %v", err)
	}
	close(end)
}

// A period that still runs delays the next one, in every process.
func TestPeriodStillRunningDelaysTheNext(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	begun, end := make(chan time.Time, 100), make(chan struct{})
	for _, name := range []string{"a", "b"} {
		m := c.member(name, worker.Config{})
		m.schedule(grid(100*time.Millisecond), m.task(func(ctx context.Context, _ worker.Attempt) error {
			begun <- cronworker.Tick(ctx)
			<-end // one for each run: more than one at a time fail the test
			return nil
		}))
		m.cron.Start()
	}
	seen := map[time.Time]bool{}
	for range 5 {
		tick := receive(t, begun)
		if seen[tick] {
			t.Errorf("%v began twice", tick)
		}
		seen[tick] = true
		time.Sleep(150 * time.Millisecond) // so that it runs while the next is due
		select {
		case tick := <-begun:
			t.Errorf("%v began beside another", tick)
		default:
		}
		end <- struct{}{}
	}
	close(end)
}

// With Task.Run ticks can share a run: the work is done once, and tried at each tick until it is.
func TestTicksMayShareARun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.member("a", worker.Config{MaxAttempts: 1})
	task := m.task(func(context.Context, worker.Attempt) error { return nil })
	task.Run = func(tick time.Time) worker.Run {
		if tick.IsZero() || tick.Location() != time.Now().Location() {
			t.Errorf("tick %v", tick)
		}
		return worker.Once("v42")
	}
	m.schedule(grid(50*time.Millisecond), task)
	m.cron.Start()
	for n := range 3 {
		want := worker.CompletedElsewhere
		if n == 0 {
			want = worker.Completed
		}
		if r := receive(t, c.results); r.Outcome != want || r.Job != (worker.Job{Key: "job", Run: worker.Once("v42")}) {
			t.Errorf("%+v, want %v", r, want)
		}
	}
}

func TestEveryIsCountedByTheClock(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.member("a", worker.Config{})
	if _, err := m.tasks.Add("@every 1h30m", m.task(func(context.Context, worker.Attempt) error { return nil })); err != nil {
		t.Fatal(err)
	}
	before := worker.Every(90*time.Minute, time.Now().Add(time.Second)) // as much too early as it may be
	m.cron.Entries()[0].WrappedJob.Run()
	after := worker.Every(90*time.Minute, time.Now().Add(time.Second))
	if r := receive(t, c.results); r.Outcome != worker.Completed || (r.Job.Run != before && r.Job.Run != after) {
		t.Errorf("%+v, want run %+v", r, after)
	}
}

// never is a schedule without times.
type never struct{}

func (never) Next(time.Time) time.Time { return time.Time{} }

func TestScheduleWithoutTimes(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.member("a", worker.Config{})
	m.schedule(never{}, m.task(func(context.Context, worker.Attempt) error {
		t.Error("it works")
		return nil
	}))
	m.cron.Entries()[0].WrappedJob.Run()
	if r := receive(t, c.results); r.Outcome != 0 || !errors.Is(r.Err, cronworker.ErrNoTick) {
		t.Errorf("%+v", r)
	}
}

func TestWrongTasks(t *testing.T) {
	t.Parallel()
	m := newCluster(t).member("a", worker.Config{})
	good := m.task(func(context.Context, worker.Attempt) error { return nil })
	for name, spoil := range map[string]func(*cronworker.Task){
		"no worker":    func(t *cronworker.Task) { t.Worker = nil },
		"no key":       func(t *cronworker.Task) { t.Key = "" },
		"too long key": func(t *cronworker.Task) { t.Key = string(make([]byte, lock.MaxName+1)) },
		"no work":      func(t *cronworker.Task) { t.Work = nil },
	} {
		bad := good
		spoil(&bad)
		if _, err := m.tasks.Add("* * * * *", bad); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: Add: %v", name, err)
		}
		if _, err := m.tasks.Schedule(never{}, bad); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: Schedule: %v", name, err)
		}
	}
	if _, err := m.tasks.Schedule(nil, good); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("no schedule: %v", err)
	}
	if _, err := m.tasks.Add("every now and then", good); err == nil {
		t.Error("no schedule, and no error")
	}
	if n := len(m.cron.Entries()); n != 0 {
		t.Errorf("%d entries", n)
	}
}
