package gocronworker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/uuid"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
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
		m := c.member(name, worker.Config{})
		m.job(gocron.DurationJob(150*time.Millisecond), m.task(func(ctx context.Context, a worker.Attempt) error {
			mu.Lock()
			defer mu.Unlock()
			worked[gocronworker.Tick(ctx)]++
			if want := gocronworker.Tick(ctx).Format(time.RFC3339Nano); a.Job.Run.Name != want {
				t.Errorf("run %q at %q", a.Job.Run.Name, want)
			}
			return nil
		}), gocron.WithSingletonMode(gocron.LimitModeReschedule))
		m.Start()
	}

	completed, came := map[time.Time]int{}, map[string]int{}
	for len(completed) < ticks || min(came["a"], came["b"], came["c"]) < ticks {
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
		tick := m.rarely(func(_ context.Context, a worker.Attempt) error {
			attempts <- attempt{name, a}
			if a.Number < 3 {
				for range 2 * (2 - a.Number) { // at the first, until the others wait
					receive(t, waiting)
				}
				return errors.New("no luck")
			}
			return nil
		})
		tick()
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

// gocron's own listeners get the error as well, and the job's name.
func TestExhaustedReachesEverybody(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	heard := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		m := c.member(name, worker.Config{MaxAttempts: 2})
		job := m.job(gocron.CronJob(rare, false), m.task(func(context.Context, worker.Attempt) error { return errors.New("broken") }),
			gocron.WithEventListeners(gocron.AfterJobRunsWithError(func(_ uuid.UUID, name string, err error) {
				if name != "job" {
					t.Errorf("gocron calls it %q", name)
				}
				heard <- err
			})))
		m.Start()
		if err := job.RunNow(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r, err := receive(t, c.results), receive(t, heard)
		var exhausted *worker.ExhaustedError
		if r.Outcome != worker.Exhausted || !errors.As(r.Err, &exhausted) || exhausted.Cause != "broken" || exhausted.Attempts != 2 {
			t.Errorf("%+v", r)
		}
		if !errors.Is(err, worker.ErrExhausted) {
			t.Errorf("gocron heard %v", err)
		}
	}
}

// The lease is lost while the process works: its work is cancelled, and another process does the tick.
func TestLostLeaseCancelsTheWork(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	begun, cancelled := make(chan struct{}), make(chan error, 1)

	a := c.memberWith(c.lockerThrough(proxy, "a"), "a", worker.Config{TTL: 400 * time.Millisecond})
	a.rarely(func(ctx context.Context, _ worker.Attempt) error {
		proxy.Stall(redistest.Both)
		close(begun)
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return context.Cause(ctx)
	})()
	receive(t, begun)

	b := c.member("b", worker.Config{})
	worked := make(chan worker.Attempt, 1)
	b.rarely(func(_ context.Context, attempt worker.Attempt) error {
		worked <- attempt
		return nil
	})()
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

// Whatever ends gocron's context interrupts the work, and its attempt is given back.
func TestShutdownInterruptsAndGivesBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(gocron.Scheduler) error{
		"Shutdown":  gocron.Scheduler.Shutdown,
		"StopJobs":  gocron.Scheduler.StopJobs,
		"RemoveJob": func(s gocron.Scheduler) error { return s.RemoveJob(s.Jobs()[0].ID()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			begun, waiting := make(chan struct{}), make(chan struct{})
			a := c.member("a", worker.Config{})
			a.rarely(func(ctx context.Context, _ worker.Attempt) error {
				close(begun)
				<-ctx.Done()
				return context.Cause(ctx)
			})()
			receive(t, begun)

			b := c.member("b", worker.Config{Handlers: worker.Handlers{OnLocked: func(worker.Job, string) { close(waiting) }}})
			b.rarely(func(_ context.Context, a worker.Attempt) error {
				if a.Number != 1 {
					t.Errorf("attempt %d: the first was not given back", a.Number)
				}
				return nil
			})()
			receive(t, waiting)
			if err := end(a); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for range 2 {
				switch r := receive(t, c.results); {
				case r.who == "a" && r.Outcome == worker.Interrupted && errors.Is(r.Err, context.Canceled):
				case r.who == "b" && r.Outcome == worker.Completed && r.Err == nil:
				default:
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// A period that still runs delays the next one, in every process.
func TestPeriodStillRunningDelaysTheNext(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	begun, end := make(chan time.Time, 100), make(chan struct{})
	for _, name := range []string{"a", "b"} {
		m := c.member(name, worker.Config{})
		m.job(gocron.DurationJob(100*time.Millisecond), m.task(func(ctx context.Context, _ worker.Attempt) error {
			begun <- gocronworker.Tick(ctx)
			<-end // one for each run: more than one at a time fail the test
			return nil
		}))
		m.Start()
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

// What is started by hand, or with the scheduler, is the present period's run.
func TestWhatIsStartedByHandIsThePeriodsRun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.member("a", worker.Config{}), c.member("b", worker.Config{})
	tick := a.rarely(nothing)
	tick()
	first := receive(t, c.results)
	tick()
	second := receive(t, c.results)
	b.job(gocron.CronJob(rare, false), b.task(nothing), gocron.WithStartAt(gocron.WithStartImmediately()))
	b.Start()
	third := receive(t, c.results)
	if first.Outcome != worker.Completed || second.Outcome != worker.CompletedElsewhere || third.Outcome != worker.CompletedElsewhere || third.who != "b" {
		t.Errorf("%+v, then %+v, then %+v", first, second, third)
	}
}

// With Task.Run ticks can share a run: the work is done once, and tried at each tick until it is.
func TestTicksMayShareARun(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.member("a", worker.Config{})
	task := m.task(nothing)
	task.Run = func(tick time.Time) worker.Run {
		if tick.IsZero() {
			t.Error("no tick")
		}
		return worker.Once("v42")
	}
	m.job(gocron.DurationJob(50*time.Millisecond), task)
	m.Start()
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

func TestUpdate(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.member("a", worker.Config{})
	job := m.job(gocron.CronJob(rare, false), m.task(nothing))
	m.Start()
	job, err := gocronworker.Update(m, job.ID(), gocron.CronJob("CRON_TZ=UTC 0 0 1 1 *", false), m.task(nothing))
	if err != nil {
		t.Fatal(err)
	}
	if err := job.RunNow(); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, c.results); r.Tick.Format("01-02 15:04") != "01-01 00:00" {
		t.Errorf("%+v", r)
	}
	if len(m.Jobs()) != 1 {
		t.Errorf("%d jobs", len(m.Jobs()))
	}
}

// crontabs of a syntax that this package does not know.
type phases struct{}

func (phases) IsValid(string, *time.Location, time.Time) error { return nil }

func (phases) Next(t time.Time) time.Time { return t.Add(time.Hour) }

func TestWrongTasks(t *testing.T) {
	t.Parallel()
	m := newCluster(t).member("a", worker.Config{})
	good, rarely := m.task(nothing), gocron.CronJob(rare, false)
	for name, spoil := range map[string]func(*gocronworker.Task){
		"no worker":    func(t *gocronworker.Task) { t.Worker = nil },
		"no key":       func(t *gocronworker.Task) { t.Key = "" },
		"too long key": func(t *gocronworker.Task) { t.Key = string(make([]byte, lock.MaxName+1)) },
		"no work":      func(t *gocronworker.Task) { t.Work = nil },
	} {
		bad := good
		spoil(&bad)
		if _, err := gocronworker.NewJob(m, rarely, bad); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: NewJob: %v", name, err)
		}
		if _, err := gocronworker.Update(m, uuid.New(), rarely, bad); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: Update: %v", name, err)
		}
	}
	if _, err := gocronworker.NewJob(nil, rarely, good); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("no scheduler: %v", err)
	}
	if _, err := gocronworker.NewJob(m, gocron.CronJob("every now and then", false), good); !errors.Is(err, gocron.ErrCronJobParse) {
		t.Errorf("no crontab: %v", err)
	}
	m.Start()
	foreign, other := gocron.CronJob("at each full moon", false), gocron.WithCronImplementation(phases{})
	if _, err := gocronworker.NewJob(m, foreign, good, other, gocron.WithStartAt(gocron.WithStartImmediately())); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("a crontab of another syntax: %v", err)
	}
	if n := len(m.Jobs()); n != 0 {
		t.Errorf("%d jobs", n)
	}
	good.Run = worker.Daily
	m.job(foreign, good, other, gocron.WithStartAt(gocron.WithStartImmediately()))
	if r := receive(t, m.cluster.results); r.Outcome != worker.Completed || r.Job.Run != worker.Daily(r.Tick) {
		t.Errorf("%+v", r)
	}
}
