package cronworker

import (
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/internal/tick"
	"github.com/lockingworker/lockingworker/worker"
)

// entry is what the Cron runs: a cron.Job.
type entry struct {
	tasks    *Tasks
	task     Task
	schedule cron.Schedule
	ready    chan struct{} // closed when the schedule is known: a Cron that runs may be quicker than Add
}

func (e *entry) begin(s cron.Schedule) {
	e.schedule = s
	close(e.ready)
}

// Run is called at each tick.
func (e *entry) Run() {
	<-e.ready
	r := e.run()
	if e.task.OnResult != nil {
		e.task.OnResult(r)
	}
}

func (e *entry) run() Result {
	at, following := e.tick(time.Now())
	r := Result{Tick: at, Job: worker.Job{Key: e.task.Key}}
	switch {
	case at.IsZero():
		r.Err = ErrNoTick
		return r
	case e.task.Run != nil:
		r.Job.Run = e.task.Run(at)
	default:
		r.Job.Run = tick.Run(at, following)
	}
	r.Outcome, r.Err = e.task.Worker.Run(tick.With(e.tasks.ctx, at), r.Job, e.task.Work)
	return r
}

// tick returns the time of the tick that is due at now, and of the one after it.
func (e *entry) tick(now time.Time) (at, following time.Time) {
	if every, ok := e.schedule.(cron.ConstantDelaySchedule); ok {
		at, following = tick.Period(every.Delay, now.Add(tick.Slack(every.Delay)))
		return at.In(e.tasks.cron.Location()), following
	}
	return tick.Of(e.schedule.Next, now.In(e.tasks.cron.Location()))
}
