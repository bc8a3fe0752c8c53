package tick

import (
	"context"
	"time"

	"github.com/lockingworker/lockingworker/worker"
)

const (
	// slack is how much too early a tick may come, but never more than a quarter of the schedule's period: clocks are set
	// back between the setting of a timer and its end, and some count in steps of several ms.
	slack = time.Second
	// memory is how long a tick is remembered at least. It bounds by how much clocks may differ.
	memory = 10 * time.Minute
	// lastMemory is how long a tick is remembered after which there is none.
	lastMemory = 48 * time.Hour
	// horizon is how far back a schedule is searched.
	horizon = 20 * 366 * 24 * time.Hour
)

// Of returns the time of a schedule for which a task is called at now, and the time after that one; the zero time, where
// there is none. next is the schedule: its first time after the given one.
func Of(next func(time.Time) time.Time, now time.Time) (at, following time.Time) {
	now = now.Round(0) // schedules go by the wall clock
	at, following = last(next, now)
	if at.IsZero() || following.IsZero() {
		return at, following
	}
	if following.Sub(now) <= Slack(following.Sub(at)) {
		at, following = following, next(following)
	}
	return at, following
}

// Slack returns how much too early a tick may come, in a schedule with this period.
func Slack(period time.Duration) time.Duration { return min(slack, period/4) }

// last returns the last time that is not after now, and the first that is.
func last(next func(time.Time) time.Time, now time.Time) (at, following time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	back := time.Second
	for !due(next(now.Add(-back))) {
		if back *= 2; back > horizon {
			return time.Time{}, next(now)
		}
	}
	// It is between from and until. There may be many times in there: halve.
	from, until := now.Add(-back), now
	for range 100 { // a schedule that does not move on would keep us for ever
		at = next(from)
		if following = next(at); !due(following) {
			break
		}
		from = at
		if middle := at.Add(until.Sub(at) / 2); due(next(middle)) {
			from = middle
		} else {
			until = middle
		}
	}
	return at, following
}

// Period returns the period of length d, counted from the Unix epoch, that t is in, by its start, and that of the next one:
// the times of schedules that each process counts from its own start.
func Period(d time.Duration, t time.Time) (at, following time.Time) {
	at = t.Round(0).Add(-time.Duration(t.UnixNano() % int64(d))).UTC()
	return at, at.Add(d)
}

// Run is the run of a tick.
func Run(at, following time.Time) worker.Run {
	retention := lastMemory
	if !following.IsZero() {
		retention = max(2*following.Sub(at), memory)
	}
	return worker.Run{Name: at.UTC().Format(time.RFC3339Nano), Retention: retention}
}

type key struct{}

// With returns a context in which From finds the time of a tick.
func With(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, key{}, at)
}

// From returns the time of the tick that the work with this context is for, or the zero time.
func From(ctx context.Context) time.Time {
	at, _ := ctx.Value(key{}).(time.Time)
	return at
}
