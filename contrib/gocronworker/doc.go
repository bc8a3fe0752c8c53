// Package gocronworker does not promise exactly one run per tick: it promises what package worker promises for a run of a
// job, and names the run. Many processes with the same jobs, each with its own gocron scheduler, have a task done by one of
// them at each tick: at least once, unless its attempts are exhausted; one at a time; and those who come late are told. What
// that leaves open, besides what worker says of any run:
//
//   - A tick at which no process runs is not made up for.
//   - A process whose clock is ahead comes early, and mostly gets the run. The clocks decide when a tick is, not how often.
//   - Clocks may differ, and a process may be late, by twice the time from the tick to the next one, but ten minutes at
//     least: so long the run is remembered after it ended. Who comes later than that does it once more, though never beside
//     another. A Task.Run with a longer Retention tolerates more.
//   - Schedules have to be the same in every process, time zone included: the default is the zone of the process. Say it:
//     gocron.WithLocation, or CRON_TZ= in a crontab.
//   - What gocron does by itself it does in each process: WithLimitedRuns counts the ticks of that process, and a DailyJob,
//     WeeklyJob or MonthlyJob with an interval other than 1 counts from that process's start, unless WithStartAt says from
//     when. WithStopAt ends the context of the last tick before it begins, so that one is left out.
//   - [Locker] and [Elector] promise less, see there: gocron's interfaces do not say whether a job failed, and cannot stop it.
//
// # The name of a tick
//
// A tick is named by its time in the schedule, in UTC, whenever it comes: by the last time of the schedule that is not after
// now. Each process compares its own clock with the schedule, so one whose clock is an hour ahead or behind has the same
// names. What follows:
//
//   - A tick that is late, because the process was paused, say, or the job waited in gocron's queue, is the tick of the period
//     in which it comes. If that was done, it is done; ticks that were slept through are one. The same is true of Job.RunNow
//     and WithStartImmediately: they do the present period's run, if nobody has yet.
//   - A tick may be early by a second, but by no more than a quarter of the period: a clock was set back a little.
//   - Daylight saving: as gocron says. A time that there is not has no tick, or another one, as WithDaylightSavingsTimePolicy
//     says; of one that comes twice, in a row, a CronJob has the first. With DaylightSavingsTimeRunAfterTransition, a process
//     whose CronJob has not ticked before takes such a tick, which is in no crontab, for the one before, and leaves it to the
//     others.
//   - A DurationJob is counted by each process from its own start; so the ticks of different processes are in the same ten
//     minutes of the clock, and no more. Its run is that period, counted from the Unix epoch, as with worker.Every: one run
//     for each, started by the first who comes. The run of a DurationRandomJob is the period of its maximum.
//   - A schedule may be changed while processes with the old one still run: a time that both have is one tick.
//   - With gocron.WithClock, set Task.Now to that clock's Now. With gocron.WithCronImplementation, set Task.Run if a crontab
//     is not in the usual syntax: NewJob says so.
//
// # A tick that still runs when the next is due
//
// One run of a key at a time: the next waits, in every process, until it ends. Work that always takes longer than the period
// so gathers waiting ticks. Choose:
//
//   - gocron.WithSingletonMode(gocron.LimitModeReschedule): a process leaves out a tick while it is still at the one before,
//     or waits for it; so all do, and the work begins at the next tick. It is mostly what is meant.
//   - worker.Config.MaxWait of about the period: who has waited that long gives up, HeldElsewhere.
//   - Not worker.NoWait: nobody is there then who would take over what fails.
package gocronworker
