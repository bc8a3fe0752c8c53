// Package cronworker does not promise exactly one run per tick: it promises what package worker promises for a run of a
// job, and names the run. Many processes with the same schedule, each with its own [cron.Cron], have a task done by one of
// them at each tick: at least once, unless its attempts are exhausted; one at a time; and those who come late are told. What
// that leaves open, besides what worker says of any run:
//
//   - A tick at which no process runs is not made up for.
//   - A process whose clock is ahead comes early, and mostly gets the run. The clocks decide when a tick is, not how often.
//   - Clocks may differ, and a process may be late, by twice the time from the tick to the next one, but ten minutes at
//     least: so long the run is remembered after it ended. Who comes later than that does it once more, though never beside
//     another. A Task.Run with a longer Retention tolerates more.
//   - Schedules have to be the same in every process, time zone included: the default is the zone of the process. Say it:
//     cron.WithLocation, or CRON_TZ= before the schedule.
//   - cron.Stop alone stops no work. [Tasks.Stop] does.
//
// # The name of a tick
//
// A tick is named by its time in the schedule, in UTC, whenever it comes: by the last time of the schedule that is not after
// now. Each process compares its own clock with the schedule, so one whose clock is an hour ahead or behind has the same
// names. What follows:
//
//   - A tick that is late, because the process was paused, say, or the task was started by hand (Entry.WrappedJob.Run), is
//     the tick of the period in which it comes. If that was done, it is done; ticks that were slept through are one.
//   - A tick may be early by a second, but by no more than a quarter of the period: a clock was set back a little.
//   - Daylight saving: as the schedule says. With cron's own, 02:30 is left out when there is none, and a time that comes
//     twice is two ticks, with two names.
//   - "@every 10m" is counted by each process from its own start; so the ticks of different processes are in the same ten
//     minutes of the clock, and no more. Its run is that period, counted from the Unix epoch, as with worker.Every: one run
//     for each, started by the first who comes.
//   - A schedule may be changed while processes with the old one still run: a time that both have is one tick.
//
// # A tick that still runs when the next is due
//
// One run of a key at a time: the next waits, in every process, until it ends. Work that always takes longer than the period
// so gathers waiting ticks. Choose:
//
//   - cron.SkipIfStillRunning in the Cron's chain: a process leaves out a tick while it is still at the one before, or waits
//     for it; so all do, and the work begins at the next tick. It is mostly what is meant.
//   - worker.Config.MaxWait of about the period: who has waited that long gives up, HeldElsewhere.
//   - Not worker.NoWait: nobody is there then who would take over what fails.
package cronworker
