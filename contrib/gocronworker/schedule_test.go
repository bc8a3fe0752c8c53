package gocronworker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/worker"
)

// clocked is a member whose clock the test moves.
type clocked struct {
	*member
	clock *clockwork.FakeClock
}

func (c *cluster) clocked(name string, now time.Time, cfg worker.Config) *clocked {
	c.t.Helper()
	clock := clockwork.NewFakeClockAt(now)
	m := c.member(name, cfg, gocron.WithClock(clock), gocron.WithLocation(now.Location()))
	return &clocked{m, clock}
}

func (m *clocked) task(work worker.Func) gocronworker.Task {
	t := m.member.task(work)
	t.Now = func() time.Time { return m.clock.Now().UTC() } // the scheduler's location is for gocron to know
	return t
}

// tick moves the clock to the job's next run, and so much further, and returns what came of it.
func (m *clocked) tick(job gocron.Job, late time.Duration) result {
	m.cluster.t.Helper()
	ctx, cancel := context.WithTimeout(m.cluster.t.Context(), bound)
	defer cancel()
	if err := m.clock.BlockUntilContext(ctx, 1); err != nil {
		m.cluster.t.Fatal(err)
	}
	next, err := job.NextRun()
	if err != nil {
		m.cluster.t.Fatal(err)
	}
	m.clock.Advance(next.Sub(m.clock.Now()) + late)
	return receive(m.cluster.t, m.cluster.results)
}

func at(t *testing.T, zone, text string) time.Time {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	now, err := time.ParseInLocation("2006-01-02 15:04:05", text, location)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// Three processes whose clocks differ: one is through with ten ticks before the next one comes to the first.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	for name, definition := range map[string]func() gocron.JobDefinition{
		"CronJob":     func() gocron.JobDefinition { return gocron.CronJob("* * * * *", false) },
		"DurationJob": func() gocron.JobDefinition { return gocron.DurationJob(time.Minute) },
		"DailyJob": func() gocron.JobDefinition {
			return gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			completed := map[string]int{}
			for i, who := range []string{"fast", "right", "slow"} {
				m := c.clocked(who, at(t, "Europe/Berlin", "2026-11-22 12:00:30").Add(time.Duration(i)*7*time.Second), worker.Config{})
				job := m.job(definition(), m.task(nothing))
				m.Start()
				for range 10 {
					r := m.tick(job, time.Duration(i)*1500*time.Millisecond)
					if r.Err != nil || r.who != who {
						t.Errorf("%+v", r)
					}
					if r.Outcome == worker.Completed {
						completed[r.Job.Run.Name]++
					} else if completed[r.Job.Run.Name] == 0 {
						t.Errorf("%s: %+v", who, r)
					}
				}
			}
			for run, n := range completed {
				if n != 1 {
					t.Errorf("%s was done %d times", run, n)
				}
			}
			if len(completed) != 10 {
				t.Errorf("%d runs: %v", len(completed), completed)
			}
		})
	}
}

// kind is a kind of job, and the names of its first runs.
type kind struct {
	name       string
	definition gocron.JobDefinition
	policy     gocron.DaylightSavingsTimePolicy
	zone, from string
	want       []string
}

func kinds(t *testing.T) []kind {
	t.Helper()
	daily := gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0)))
	after, skip := gocron.DaylightSavingsTimeRunAfterTransition, gocron.DaylightSavingsTimeSkip
	return []kind{
		{"crontab", gocron.CronJob("*/20 9 * * 1-5", false), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-20T09:40:00Z", "2026-11-23T09:00:00Z", "2026-11-23T09:20:00Z"}},
		{"crontab with seconds", gocron.CronJob("*/20 * * * * *", true), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-20T09:30:20Z", "2026-11-20T09:30:40Z", "2026-11-20T09:31:00Z"}},
		{"crontab with a zone", gocron.CronJob("CRON_TZ=Asia/Tokyo 0 3 * * *", false), 0, "America/New_York", "2026-11-20 09:30:00",
			[]string{"2026-11-20T18:00:00Z", "2026-11-21T18:00:00Z"}},
		{"crontab with a period", gocron.CronJob("@every 1h", false), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"}},
		{"duration", gocron.DurationJob(40 * time.Minute), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-20T10:00:00Z", "2026-11-20T10:40:00Z", "2026-11-20T11:20:00Z"}},
		{"duration in a zone", gocron.DurationJob(24 * time.Hour), 0, "Asia/Tokyo", "2026-11-20 08:30:00",
			[]string{"2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"}},
		{"crontab with a period in a zone", gocron.CronJob("@every 1h", false), 0, "America/New_York", "2026-11-20 19:30:00",
			[]string{"2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z"}},
		{"daily", daily, 0, "Europe/Berlin", "2026-11-20 09:30:00",
			[]string{"2026-11-21T01:30:00Z", "2026-11-22T01:30:00Z"}},
		{"daily, twice", gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(17, 0, 0), gocron.NewAtTime(8, 0, 5))), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-20T17:00:00Z", "2026-11-21T08:00:05Z", "2026-11-21T17:00:00Z"}},
		{"each third day", gocron.DailyJob(3, gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0))), 0, "UTC", "2026-11-20 01:30:00",
			[]string{"2026-11-20T02:30:00Z", "2026-11-23T02:30:00Z"}},
		{"weekly", gocron.WeeklyJob(1, gocron.NewWeekdays(time.Monday, time.Thursday), gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0))), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2026-11-23T02:30:00Z", "2026-11-26T02:30:00Z", "2026-11-30T02:30:00Z"}},
		{"monthly", gocron.MonthlyJob(1, gocron.NewDaysOfTheMonth(3, -1), gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0))), 0, "UTC", "2026-01-20 09:30:00",
			[]string{"2026-01-31T02:30:00Z", "2026-02-03T02:30:00Z", "2026-02-28T02:30:00Z", "2026-03-03T02:30:00Z"}},
		{"once", gocron.OneTimeJob(gocron.OneTimeJobStartDateTimes(at(t, "UTC", "2027-01-01 00:00:00"), at(t, "UTC", "2027-01-01 06:00:00"))), 0, "UTC", "2026-11-20 09:30:00",
			[]string{"2027-01-01T00:00:00Z", "2027-01-01T06:00:00Z"}},

		{"crontab, set forward", gocron.CronJob("30 2 * * *", false), 0, "America/New_York", "2026-03-06 12:00:00",
			[]string{"2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"}},
		{"crontab, set forward, after", gocron.CronJob("30 2 * * *", false), after, "America/New_York", "2026-03-06 12:00:00",
			[]string{"2026-03-07T07:30:00Z", "2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"}},
		{"daily, set forward", daily, 0, "America/New_York", "2026-03-06 12:00:00",
			[]string{"2026-03-07T07:30:00Z", "2026-03-08T06:30:00Z", "2026-03-09T06:30:00Z"}},
		{"daily, set forward, skip", daily, skip, "America/New_York", "2026-03-06 12:00:00",
			[]string{"2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"}},
		{"daily, set forward, after", daily, after, "Europe/Berlin", "2026-03-27 12:00:00",
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"crontab, set back", gocron.CronJob("30 1 * * *", false), 0, "America/New_York", "2026-10-30 12:00:00",
			[]string{"2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
		{"short crontab, set back", gocron.CronJob("*/30 * * * *", false), 0, "America/New_York", "2026-11-01 01:15:00",
			[]string{"2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"}},
		{"daily, set back", gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(1, 30, 0))), 0, "America/New_York", "2026-10-30 12:00:00",
			[]string{"2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
	}
}

// Each kind of job, where clocks on the wall are changed, too: each of its ticks has its own run, with the name of its time.
func TestTicksOfEachKind(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{0, 7 * time.Second} {
		for _, tt := range kinds(t) { // not the same twice: gocron's definitions are not to be shared
			t.Run(tt.name+" "+late.String(), func(t *testing.T) {
				t.Parallel()
				m := newCluster(t).clocked("a", at(t, tt.zone, tt.from), worker.Config{})
				job := m.job(tt.definition, m.task(nothing), gocron.WithDaylightSavingsTimePolicy(tt.policy))
				m.Start()
				for i, want := range tt.want {
					r := m.tick(job, late)
					if r.Outcome != worker.Completed || r.Job.Run.Name != want {
						t.Errorf("tick %d: %+v, want %s", i+1, r, want)
					}
					if zone := r.Tick.Location().String(); zone != tt.zone { // Task.Run names days by it
						t.Errorf("tick %d is in %s", i+1, zone)
					}
					if i+1 == len(tt.want) {
						break
					}
					next, err := time.Parse(time.RFC3339, tt.want[i+1])
					if err != nil {
						t.Fatal(err)
					}
					if kept := r.Job.Run.Retention; kept < 2*next.Sub(r.Tick) || kept < 10*time.Minute {
						t.Errorf("tick %d is remembered for %v", i+1, kept)
					}
				}
			})
		}
	}
}

// A DurationJob whose ticks are at the very end of a period, now more and now less late: each has its own.
func TestTicksAtTheEndOfAPeriod(t *testing.T) {
	t.Parallel()
	m := newCluster(t).clocked("a", at(t, "UTC", "2026-11-22 12:00:58").Add(900*time.Millisecond), worker.Config{})
	job := m.job(gocron.DurationJob(time.Minute), m.task(nothing))
	m.Start()
	for n := range 6 {
		if r := m.tick(job, time.Duration(n%2)*200*time.Millisecond); r.Outcome != worker.Completed {
			t.Errorf("tick %d: %+v", n+1, r)
		}
	}
}

// A process that slept comes to the present period, once; and where clocks were set back, what is started by hand is still
// the run that was.
func TestLateTicks(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.clocked("a", at(t, "America/New_York", "2026-10-30 12:00:00"), worker.Config{})
	job := m.job(gocron.CronJob("30 1 * * *", false), m.task(nothing))
	m.Start()
	if r := m.tick(job, 25*time.Hour); r.Outcome != worker.Completed || r.Job.Run.Name != "2026-11-01T05:30:00Z" {
		t.Errorf("%+v", r)
	}
	for _, later := range []time.Duration{0, time.Minute, 9 * time.Hour, 14 * time.Hour} { // until short of the next
		m.clock.Advance(later)
		if err := job.RunNow(); err != nil {
			t.Fatal(err)
		}
		if r := receive(t, c.results); r.Outcome != worker.CompletedElsewhere || r.Job.Run.Name != "2026-11-01T05:30:00Z" {
			t.Errorf("%v later: %+v", later, r)
		}
	}
}

// A tick that comes a little too early by the clock is still that tick.
func TestEarlyTicks(t *testing.T) {
	t.Parallel()
	for name, definition := range map[string]gocron.JobDefinition{
		"CronJob":     gocron.CronJob("* * * * *", false),
		"DurationJob": gocron.DurationJob(time.Minute),
		"DailyJob":    gocron.DailyJob(1, gocron.NewAtTimes(gocron.NewAtTime(2, 30, 0))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			m := c.clocked("a", at(t, "UTC", "2026-11-22 12:00:00"), worker.Config{})
			task := m.task(nothing)
			task.Now = func() time.Time { return m.clock.Now().Add(-900 * time.Millisecond) } // set back
			job := m.job(definition, task)
			m.Start()
			for range 3 {
				next, err := job.NextRun()
				if err != nil {
					t.Fatal(err)
				}
				if r := m.tick(job, 0); r.Outcome != worker.Completed || !r.Tick.Equal(next) {
					t.Errorf("%+v, want %v", r, next)
				}
			}
		})
	}
}

// gocron ends the context of the last tick before WithStopAt's end, as doc.go says.
func TestTheLastTickIsLeftOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.clocked("a", at(t, "UTC", "2026-11-22 12:00:00"), worker.Config{})
	heard := make(chan error, 1)
	job := m.job(gocron.CronJob("* * * * *", false), m.task(nothing),
		gocron.WithStopAt(gocron.WithStopDateTime(at(t, "UTC", "2026-11-22 12:02:30"))),
		gocron.WithEventListeners(gocron.AfterJobRunsWithError(func(_ uuid.UUID, _ string, err error) { heard <- err })))
	m.Start()
	if r := m.tick(job, 0); r.Outcome != worker.Completed {
		t.Errorf("%+v", r)
	}
	if err := m.clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	m.clock.Advance(time.Minute)
	if err := receive(t, heard); !errors.Is(err, context.Canceled) || len(c.results) > 0 {
		t.Errorf("gocron heard %v, and there are %d results", err, len(c.results))
	}
}

// gocron keeps the times of ticks that its Elector refuses. They are not taken for later ones.
func TestTicksAfterAnElection(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	clock := clockwork.NewFakeClockAt(at(t, "UTC", "2026-11-22 12:00:30"))
	leader := &election{asked: make(chan struct{}, 100)}
	m := &clocked{c.member("a", worker.Config{}, gocron.WithClock(clock), gocron.WithDistributedElector(leader), gocron.WithLocation(time.UTC)), clock}
	m.job(gocron.CronJob("* * * * *", false), m.task(nothing))
	m.Start()
	for _, want := range []string{"", "", "", "2026-11-22T12:04:00Z", "2026-11-22T12:05:00Z"} {
		leader.wins.Store(want != "")
		if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Minute)
		receive(t, leader.asked)
		if want == "" {
			continue
		}
		if r := receive(t, c.results); r.Outcome != worker.Completed || r.Job.Run.Name != want {
			t.Errorf("%+v, want %s", r, want)
		}
	}
}
