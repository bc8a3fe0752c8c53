package cronworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/internal/tick"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

var (
	// ErrStopped is the cause with which the work's context ends when Tasks.Stop is called.
	ErrStopped = errors.New("cronworker: stopped")
	// ErrNoTick says that the schedule has no time that is not in the future, so that a run has no name.
	ErrNoTick = errors.New("cronworker: no tick is due")
)

// Task is work for a schedule. Worker, Key and Work are required.
type Task struct {
	Worker *worker.Worker
	Key    string // of the job, the same in every process; 1 to lock.MaxName bytes
	// Work is worker.Worker.Run's. Its context also ends, with the cause ErrStopped, at Tasks.Stop: if it then returns an
	// error, the attempt is given back, and another process starts at once. See also Tick.
	Work worker.Func
	// Run names the run of the tick with this time. Two ticks with one name are one run: with
	//
	//	Run: worker.Daily
	//
	// a schedule of "*/10 3-5 * * *" has the work done once a day, and tries it every ten minutes until it is. Default: the
	// tick's time in UTC, remembered for twice the time to the next one, but ten minutes at least; 48 hours, if there is no
	// next one.
	Run func(tick time.Time) worker.Run
	// OnResult is told what came of each tick, by the goroutine that cron started for it. Default: nobody is. The Worker's
	// handlers say more.
	OnResult func(Result)
}

// Result is what came of a tick in this process.
type Result struct {
	Tick    time.Time // its time in the schedule
	Job     worker.Job
	Outcome worker.Outcome
	Err     error // nil if and only if the job is done, by whomever
}

// Tick returns the time of the tick that the work with this context is for, or the zero time. It is the same in whichever
// process the work is done, and at each attempt.
func Tick(ctx context.Context) time.Time { return tick.From(ctx) }

// Tasks are those of one Cron.
type Tasks struct {
	cron *cron.Cron
	ctx  context.Context
	stop context.CancelCauseFunc
}

// New makes Tasks for a Cron, which may run already and have other jobs, too.
func New(c *cron.Cron) *Tasks {
	ctx, stop := context.WithCancelCause(context.Background())
	return &Tasks{cron: c, ctx: ctx, stop: stop}
}

// Add has the task done by one of all processes at each tick of a schedule in the Cron's syntax. The error is the parser's,
// or lock.ErrInvalid.
func (ts *Tasks) Add(spec string, t Task) (cron.EntryID, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	e := &entry{tasks: ts, task: t, ready: make(chan struct{})}
	id, err := ts.cron.AddJob(spec, e)
	if err != nil {
		return 0, err
	}
	e.begin(ts.cron.Entry(id).Schedule)
	return id, nil
}

// Schedule is Add for a schedule that is no text. Its Next must not depend on anything but the time that it is given.
func (ts *Tasks) Schedule(s cron.Schedule, t Task) (cron.EntryID, error) {
	err := t.check()
	if s == nil {
		err = errors.Join(err, invalid("schedule is nil"))
	}
	if err != nil {
		return 0, err
	}
	e := &entry{tasks: ts, task: t, ready: make(chan struct{})}
	e.begin(s)
	return ts.cron.Schedule(s, e), nil
}

// Stop stops the Cron, interrupts the work of all tasks, and waits until they and the Cron's other jobs have ended: its error
// is ctx's cause, if that ends before. Attempts whose work returns an error are given back, and the next process starts at
// once. A Cron that is started again afterwards runs no tasks.
func (ts *Tasks) Stop(ctx context.Context) error {
	ended := ts.cron.Stop()
	ts.stop(ErrStopped)
	select {
	case <-ended.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t Task) check() error {
	var errs []error
	if t.Worker == nil {
		errs = append(errs, invalid("Task.Worker is nil"))
	}
	if n := len(t.Key); n == 0 || n > lock.MaxName {
		errs = append(errs, invalid("Task.Key has %d bytes: want 1 to %d", n, lock.MaxName))
	}
	if t.Work == nil {
		errs = append(errs, invalid("Task.Work is nil"))
	}
	return errors.Join(errs...)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("cronworker: %w: %s", lock.ErrInvalid, fmt.Sprintf(format, args...))
}
