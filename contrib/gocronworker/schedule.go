package gocronworker

import (
	"slices"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/internal/tick"
)

// schedule is what gocron tells of a job's times. One field is set, or none, where nothing is known.
type schedule struct {
	next  func(time.Time) time.Time // the first time after this one, in its location
	every time.Duration             // counted from each process's own start
	exact bool                      // and never more or less than that
}

func scheduleOf(job gocron.Job) (schedule, error) {
	switch s := job.Schedule().(type) {
	case gocron.DurationJobSchedule:
		return schedule{every: s.Duration, exact: true}, nil
	case gocron.DurationRandomJobSchedule:
		return schedule{every: s.Max}, nil
	case gocron.CronJobSchedule:
		return parse(s.Crontab)
	case gocron.DailyJobSchedule:
		return schedule{next: calendar{s.AtTimes, func(time.Time) bool { return true }}.next}, nil
	case gocron.WeeklyJobSchedule:
		return schedule{next: calendar{s.AtTimes, func(day time.Time) bool { return slices.Contains(s.DaysOfWeek, day.Weekday()) }}.next}, nil
	case gocron.MonthlyJobSchedule:
		return schedule{next: calendar{s.AtTimes, func(day time.Time) bool {
			length := time.Date(day.Year(), day.Month()+1, 0, 12, 0, 0, 0, day.Location()).Day()
			return slices.Contains(s.Days, day.Day()) || slices.Contains(s.DaysFromEnd, day.Day()-length-1)
		}}.next}, nil
	case gocron.OneTimeJobSchedule:
		return schedule{next: dates(s.StartAt).next}, nil
	default:
		return schedule{}, invalid("the definition is of a kind that this package does not know: want Task.Run")
	}
}

// crontabs are parsed as gocron does it.
var crontabs = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func parse(text string) (schedule, error) {
	parsed, err := crontabs.Parse(text)
	if err != nil {
		return schedule{}, invalid("crontab: %v: want Task.Run", err)
	}
	if every, ok := parsed.(cron.ConstantDelaySchedule); ok {
		return schedule{every: every.Delay}, nil
	}
	return schedule{next: crontab{parsed}.next}, nil
}

// crontab is the times of one, but for those that gocron leaves out.
type crontab struct{ cron.Schedule }

func (c crontab) next(t time.Time) time.Time {
	at := c.Next(t)
	if c.repeats(at) {
		return c.Next(at)
	}
	return at
}

// repeats reports whether the time before is the same by the clock on the wall, which was set back in between.
func (c crontab) repeats(at time.Time) bool {
	_, offset := at.Zone()
	_, before := at.Add(-24 * time.Hour).Zone()
	if at.IsZero() || before <= offset {
		return false
	}
	first := at.Add(-time.Duration(before-offset) * time.Second)
	_, then := first.Zone()
	return then == before && c.Next(first).Equal(at)
}

// calendar is times of the day, on the days that match.
type calendar struct {
	times   []time.Time
	matches func(day time.Time) bool
}

func (c calendar) next(t time.Time) time.Time {
	const years = 9 // until there is a 29th of February again
	for ahead := range years * 366 {
		noon := time.Date(t.Year(), t.Month(), t.Day()+ahead, 12, 0, 0, 0, t.Location())
		if !c.matches(noon) {
			continue
		}
		var first time.Time
		for _, of := range c.times {
			// Where there is no such time, this is what gocron makes of it, or before that.
			at := time.Date(noon.Year(), noon.Month(), noon.Day(), of.Hour(), of.Minute(), of.Second(), 0, t.Location())
			if at.After(t) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if !first.IsZero() {
			return first
		}
	}
	return time.Time{}
}

// dates are times, the first one first.
type dates []time.Time

func (d dates) next(t time.Time) time.Time {
	for _, at := range d {
		if at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// tick returns the time of the tick that is due at now, and of the one after it.
func (e *entry) tick(now time.Time) (at, following time.Time) {
	upcoming, _ := e.job.NextRuns(2) // without an answer, the schedule alone decides
	if len(upcoming) > 0 {
		now = now.In(upcoming[0].Location()) // the scheduler's
	}
	if e.schedule.every > 0 {
		at, following = e.schedule.period(now, upcoming)
		return at.In(now.Location()), following
	}
	if e.schedule.next != nil {
		at, following = tick.Of(e.schedule.next, now)
	} else {
		at = now
	}
	next := following
	for _, u := range upcoming {
		if u.Sub(now) > tick.Slack(u.Sub(at)) {
			next = u
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.schedule.next != nil && e.known.After(at) && !e.known.After(now) {
		at = e.known // a tick that gocron adds where clocks are set forward
	}
	e.known = next
	if next.After(following) {
		following = next // an interval of several days
	}
	return at, following
}

// period returns the period that is due at now. gocron's next time tells when a DurationJob's tick should have been, to the
// nanosecond, so that ticks at the very end of a period are not now in one and now in the other.
func (s schedule) period(now time.Time, upcoming []time.Time) (at, following time.Time) {
	due := now.Add(tick.Slack(s.every))
	for _, u := range upcoming {
		if before := u.Add(-s.every); s.exact && u.After(due) && !before.After(due) {
			return tick.Period(s.every, before)
		}
	}
	return tick.Period(s.every, due)
}
