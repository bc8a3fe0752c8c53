package gocronworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/uuid"

	"github.com/lockingworker/lockingworker/internal/tick"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// ErrNoTick says that the schedule has no time that is not in the future, so that a run has no name: somebody called
// Job.RunNow too early, or a OneTimeJob that starts immediately has no Task.Run.
var ErrNoTick = errors.New("gocronworker: no tick is due")

// Task is work for a schedule. Worker, Key and Work are required.
type Task struct {
	Worker *worker.Worker
	Key    string // of the job, the same in every process; 1 to lock.MaxName bytes. Also gocron's name for it, unless WithName
	// Work is worker.Worker.Run's. Its context also ends with gocron's: at Shutdown, StopJobs, RemoveJob, or with the context
	// of WithContext. If it then returns an error, the attempt is given back, and another process starts at once. See also
	// Tick.
	Work worker.Func
	// Run names the run of the tick with this time. Two ticks with one name are one run: with
	//
	//	Run: worker.Daily
	//
	// a crontab of "*/10 3-5 * * *" has the work done once a day, and tries it every ten minutes until it is. Default: the
	// tick's time in UTC, remembered for twice the time to the next one, but ten minutes at least; 48 hours, if there is no
	// next one.
	Run func(tick time.Time) worker.Run
	// OnResult is told what came of each tick, before gocron is: its listeners AfterJobRuns and AfterJobRunsWithError, and
	// its monitors, get Result.Err as the job's error. Default: nobody is told. The Worker's handlers say more.
	OnResult func(Result)
	// Now is the clock of the scheduler, if it has one of its own. Default: time.Now.
	Now func() time.Time
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

// NewJob is gocron's Scheduler.NewJob, for a task that is done by one of all processes at each tick. The error is gocron's, or
// lock.ErrInvalid.
func NewJob(s gocron.Scheduler, definition gocron.JobDefinition, t Task, options ...gocron.JobOption) (gocron.Job, error) {
	return t.add(s, options, func(task gocron.Task, options []gocron.JobOption) (gocron.Job, error) {
		return s.NewJob(definition, task, options...)
	})
}

// Update is gocron's Scheduler.Update, for such a task.
func Update(s gocron.Scheduler, id uuid.UUID, definition gocron.JobDefinition, t Task, options ...gocron.JobOption) (gocron.Job, error) {
	return t.add(s, options, func(task gocron.Task, options []gocron.JobOption) (gocron.Job, error) {
		return s.Update(id, definition, task, options...)
	})
}

func (t Task) add(s gocron.Scheduler, options []gocron.JobOption, add func(gocron.Task, []gocron.JobOption) (gocron.Job, error)) (gocron.Job, error) {
	if err := t.check(s); err != nil {
		return nil, err
	}
	if t.Now == nil {
		t.Now = time.Now
	}
	e := &entry{task: t, ready: make(chan struct{})}
	job, err := add(gocron.NewTask(e.run), append([]gocron.JobOption{gocron.WithName(t.Key)}, options...))
	if err != nil {
		return nil, err
	}
	if err := e.begin(job); err != nil {
		return nil, errors.Join(err, s.RemoveJob(job.ID()))
	}
	return job, nil
}

func (t Task) check(s gocron.Scheduler) error {
	var errs []error
	if s == nil {
		errs = append(errs, invalid("scheduler is nil"))
	}
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
	return fmt.Errorf("gocronworker: %w: %s", lock.ErrInvalid, fmt.Sprintf(format, args...))
}
