package worker_test

// Nights pass in no time here. Each test lives in a bubble of testing/synctest, and so does its Redis, whose clock is
// the bubble's; they go over the boundaries of periods by sleeping.

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the zones are the same on every machine

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/locktest"
	"github.com/lockingworker/lockingworker/worker"
)

// bubble is a cluster with a clock of its own.
type bubble struct {
	t     *testing.T
	redis *locktest.Redis

	mu    sync.Mutex
	begun map[string][]time.Time // by run: when somebody began to work
	now   int                    // works at the moment
	ends  map[worker.Outcome]int // what Run returned
}

// inBubble has f live through a time that begins then.
func inBubble(t *testing.T, begin time.Time, f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, redis: locktest.New(t), begun: map[string][]time.Time{}, ends: map[worker.Outcome]int{}}
		sleepUntil(begin)
		f(t, b)
	})
}

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

// start is a process from its beginning to its end: it runs the job, whose work takes so long, and has to get it done.
func (b *bubble) start(cfg worker.Config, job worker.Job, takes time.Duration) worker.Outcome {
	locker, end := b.locker()
	defer end()
	w, err := worker.New(locker, cfg)
	if err != nil {
		b.t.Error(err)
		return 0
	}
	outcome, err := w.Run(b.t.Context(), job, b.work(takes))
	if err != nil {
		b.t.Errorf("%v: %v", job, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends[outcome]++
	return outcome
}

// locker is a process's own, and so is its client.
func (b *bubble) locker() (l *lock.Locker, end func()) {
	options := *b.redis.Client().Options()
	client := redis.NewClient(&options)
	l, err := lock.New(client, lock.Config{})
	if err != nil {
		b.t.Error(err)
		panic(err)
	}
	return l, func() {
		_ = l.Close()
		_ = client.Close()
	}
}

// work takes so long, and fails the test if it is not alone.
func (b *bubble) work(takes time.Duration) worker.Func {
	return func(ctx context.Context, a worker.Attempt) error {
		b.mu.Lock()
		b.begun[a.Job.Run.Name] = append(b.begun[a.Job.Run.Name], time.Now())
		if b.now++; b.now > 1 {
			b.t.Errorf("%v: %v is begun while another works", time.Now().UTC(), a.Job)
		}
		b.mu.Unlock()
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.now--
		}()
		select {
		case <-time.After(takes):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wantOnce fails the test unless each of these runs was worked on once, and nothing else was.
func (b *bubble) wantOnce(runs ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := slices.Sorted(maps.Keys(b.begun)); !slices.Equal(got, runs) {
		b.t.Errorf("worked on %q, want %q", got, runs)
	}
	for run, times := range b.begun {
		if len(times) != 1 {
			b.t.Errorf("%q was worked on at %v", run, times)
		}
	}
	if b.ends[worker.Completed] != len(runs) {
		b.t.Errorf("outcomes: %v, want %d completed", b.ends, len(runs))
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Three processes, whose clocks differ, are started again and again: half a minute before a boundary first, so that the work
// of one goes on behind it, while another asks for the next period, and a third for the old one again.
func TestOneRunPerPeriod(t *testing.T) {
	hourly := func(t time.Time) worker.Run { return worker.Every(time.Hour, t) }
	tests := []struct {
		name, zone string
		begin      string
		lasts      time.Duration
		again      time.Duration
		run        func(time.Time) worker.Run
		want       []string
	}{
		{"days", "UTC", "2000-12-30T23:59:30Z", 47 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-12-30", "2000-12-31", "2001-01-01"}},
		{"a day of 23 hours", "Europe/Berlin", "2000-03-25T23:59:30+01:00", 48 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-03-25", "2000-03-26", "2000-03-27", "2000-03-28"}},
		{"a day of 25 hours", "Europe/Berlin", "2000-10-28T23:59:30+02:00", 49 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-10-28", "2000-10-29", "2000-10-30"}},
		{"a day that begins at one", "America/Sao_Paulo", "2000-10-07T23:59:30-03:00", 25 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-10-07", "2000-10-08", "2000-10-09"}},
		{"a day whose last hour comes twice", "America/Sao_Paulo", "2000-02-26T23:59:30-02:00", 26 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-02-26", "2000-02-27", "2000-02-28"}},
		{"a day that begins, is yesterday again, and begins again", "America/St_Johns", "2000-10-28T23:59:30-02:30", 26 * time.Hour, 30 * time.Minute, worker.Daily,
			[]string{"2000-10-28", "2000-10-29", "2000-10-30"}},
		{"hours, one of which the clocks skip", "Europe/Berlin", "2000-03-26T00:59:30+01:00", 3 * time.Hour, 10 * time.Minute, hourly,
			[]string{"2000-03-25T23:00:00Z", "2000-03-26T00:00:00Z", "2000-03-26T01:00:00Z", "2000-03-26T02:00:00Z"}},
		{"hours, one of which the clocks show twice", "Europe/Berlin", "2000-10-29T01:59:30+02:00", 3 * time.Hour, 10 * time.Minute, hourly,
			[]string{"2000-10-28T23:00:00Z", "2000-10-29T00:00:00Z", "2000-10-29T01:00:00Z", "2000-10-29T02:00:00Z"}},
		{"a version, for ten years", "UTC", "2000-12-30T23:59:30Z", 10 * 365 * 24 * time.Hour, 30 * 24 * time.Hour, func(time.Time) worker.Run { return worker.Once("v1") },
			[]string{"v1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z, begin := zone(t, tt.zone), moment(t, tt.begin)
			until := begin.Add(tt.lasts)
			_, before := begin.In(z).Zone()
			if _, after := until.In(z).Zone(); before == after && z != time.UTC {
				t.Fatalf("the clocks of %s do not change", z)
			}
			inBubble(t, begin, func(t *testing.T, b *bubble) {
				var processes sync.WaitGroup
				for n, ahead := range []time.Duration{0, 40 * time.Second, -40 * time.Second} {
					processes.Go(func() {
						for at := begin.Add(time.Duration(n) * 20 * time.Second); at.Before(until); at = at.Add(tt.again) {
							sleepUntil(at)
							b.start(worker.Config{}, worker.Job{Key: "job", Run: tt.run(time.Now().Add(ahead).In(z))}, time.Minute)
						}
					})
				}
				processes.Wait()
				b.wantOnce(tt.want...)
			})
		})
	}
}

// A period that takes longer than it lasts delays the next, and is not joined by it.
func TestPeriodThatStillRunsDelaysTheNext(t *testing.T) {
	begin := moment(t, "2000-11-22T10:00:00Z")
	inBubble(t, begin, func(t *testing.T, b *bubble) {
		const takes = 100 * time.Second
		var processes sync.WaitGroup
		for range 4 {
			run := worker.Every(time.Minute, time.Now())
			processes.Go(func() { b.start(worker.Config{}, worker.Job{Key: "job", Run: run}, takes) })
			time.Sleep(time.Minute)
		}
		processes.Wait()
		runs := []string{"2000-11-22T10:00:00Z", "2000-11-22T10:01:00Z", "2000-11-22T10:02:00Z", "2000-11-22T10:03:00Z"}
		b.wantOnce(runs...)
		for i, run := range runs {
			if len(b.begun[run]) == 0 {
				continue
			}
			if late := b.begun[run][0].Sub(begin.Add(time.Duration(i) * takes)); late < 0 || late > time.Second {
				t.Errorf("%s was begun %v after the one before had ended", run, late)
			}
		}
	})
}

// Who comes with the name of a period that was done is told so, and changes nothing: neither while the next one's work
// goes on, nor afterwards.
func TestLateProcessChangesNothing(t *testing.T) {
	z := zone(t, "Europe/Berlin")
	daily := func(t time.Time) worker.Run { return worker.Daily(t.In(z)) }
	tests := []struct {
		name  string
		begin string
		after time.Duration // until the next period
		run   func(time.Time) worker.Run
	}{
		{"a day", "2000-11-22T00:30:00+01:00", 24 * time.Hour, daily},
		{"a day of 23 hours", "2000-03-26T00:30:00+01:00", 23 * time.Hour, daily},
		{"a day of 25 hours", "2000-10-29T00:30:00+02:00", 25 * time.Hour, daily},
		{"an hour", "2000-11-22T10:59:00Z", 2 * time.Minute, func(t time.Time) worker.Run { return worker.Every(time.Hour, t) }},
		{"a version", "2000-11-22T10:00:00Z", 400 * 24 * time.Hour, func(t time.Time) worker.Run { return worker.Once(t.Format(time.DateOnly)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begin := moment(t, tt.begin)
			old, next := worker.Job{Key: "job", Run: tt.run(begin)}, worker.Job{Key: "job", Run: tt.run(begin.Add(tt.after))}
			inBubble(t, begin, func(t *testing.T, b *bubble) {
				late := func(when string) {
					t.Helper()
					before, began := b.records(old, next), time.Now()
					if outcome := b.start(worker.Config{}, old, time.Minute); outcome != worker.CompletedElsewhere {
						t.Errorf("%s: %v", when, outcome)
					}
					if waited := time.Since(began); waited > time.Second {
						t.Errorf("%s: it waited for %v", when, waited)
					}
					if after := b.records(old, next); !slices.EqualFunc(before, after, sameRecord) {
						t.Errorf("%s: there was\n%+v, there is\n%+v", when, before, after)
					}
				}
				b.start(worker.Config{}, old, time.Minute)
				sleepUntil(begin.Add(tt.after))
				var processes sync.WaitGroup
				processes.Go(func() { b.start(worker.Config{}, next, time.Minute) })
				time.Sleep(30 * time.Second)
				if rs := b.records(old, next); rs[0].State != lock.JobDone || rs[1].State != lock.JobRunning {
					t.Errorf("%+v", rs)
				}
				late("while the next works")
				processes.Wait()
				late("when the next is done")
				if rs := b.records(old, next); rs[0].State != lock.JobDone || rs[1].State != lock.JobDone {
					t.Errorf("%+v", rs)
				}
				b.wantOnce(old.Run.Name, next.Run.Name)
			})
		})
	}
}

func (b *bubble) records(jobs ...worker.Job) []lock.JobInfo {
	l, end := b.locker()
	defer end()
	var ids []lock.JobID
	for _, job := range jobs {
		ids = append(ids, lock.JobID{Key: job.Key, Run: job.Run.Name})
	}
	infos, err := l.Jobs().Get(b.t.Context(), ids...)
	if err != nil {
		b.t.Error(err)
	}
	return infos
}

// sameRecord compares all but the time left to whoever has the lock.
func sameRecord(a, b lock.JobInfo) bool {
	return a.ID == b.ID && a.State == b.State && a.Owner == b.Owner && a.Fence == b.Fence && a.Attempt == b.Attempt && a.Max == b.Max &&
		a.NotBefore.Equal(b.NotBefore) && a.Waiters == b.Waiters && a.Cause == b.Cause && a.Permanent == b.Permanent &&
		slices.Equal(a.Attempts, b.Attempts)
}

// Attempts belong to a run: what was exhausted yesterday is begun afresh today, and stays exhausted under its old name.
func TestExhaustedPeriodEndsWithIt(t *testing.T) {
	inBubble(t, moment(t, "2000-11-22T23:00:00Z"), func(t *testing.T, b *bubble) {
		l, end := b.locker()
		defer end()
		w, err := worker.New(l, worker.Config{MaxAttempts: 2})
		if err != nil {
			t.Fatal(err)
		}
		yesterday := worker.Job{Key: "job", Run: worker.Daily(time.Now())}
		fail := func(context.Context, worker.Attempt) error { return errWork }
		if outcome, err := w.Run(t.Context(), yesterday, fail); outcome != worker.Exhausted {
			t.Errorf("Run = %v, %v", outcome, err)
		}
		time.Sleep(2 * time.Hour)
		today := worker.Job{Key: "job", Run: worker.Daily(time.Now())}
		if outcome := b.start(worker.Config{MaxAttempts: 2}, today, time.Minute); outcome != worker.Completed {
			t.Error(outcome)
		}
		if outcome, err := w.Run(t.Context(), yesterday, never); outcome != worker.Exhausted {
			t.Errorf("yesterday's Run = %v, %v", outcome, err)
		}
		b.wantOnce("2000-11-23")
	})
}

// The zero Run is this night: of three processes that are started within a minute, or while one works, one does, and so
// every night, also when it has an hour more or less, and where the work takes longer than its run is remembered.
func TestJobWithoutRunNameRunsEveryNight(t *testing.T) {
	z := zone(t, "Europe/Berlin")
	for _, tt := range []struct {
		name  string
		month time.Month
		day   int
		takes time.Duration
		last  time.Duration // when the third is started
	}{
		{"an hour is skipped", time.March, 24, time.Second, 50 * time.Second},
		{"an hour comes twice", time.October, 27, time.Second, 50 * time.Second},
		{"long work", time.October, 27, 2 * time.Minute, 100 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			night := func(n int) time.Time { return time.Date(2000, tt.month, tt.day+n, 2, 30, 0, 0, z) }
			inBubble(t, night(0), func(t *testing.T, b *bubble) {
				for n := range 5 {
					var processes sync.WaitGroup
					for _, late := range []time.Duration{0, 500 * time.Millisecond, tt.last} {
						processes.Go(func() {
							sleepUntil(night(n).Add(late))
							b.start(worker.Config{}, worker.Job{Key: "job"}, tt.takes)
						})
					}
					processes.Wait()
					if works := len(b.begun[""]); works != n+1 {
						t.Fatalf("night %d: %d works", n+1, works)
					}
				}
				if b.ends[worker.Completed] != 5 || b.ends[worker.CompletedElsewhere] != 10 {
					t.Errorf("outcomes: %v", b.ends)
				}
			})
		})
	}
}

// How long who comes late is told that it is done; then the same name is begun again.
func TestRunsAreRememberedForTheirRetention(t *testing.T) {
	begin := moment(t, "2000-11-22T10:00:00Z")
	for _, tt := range []struct {
		name       string
		ttl        time.Duration
		run        worker.Run
		remembered time.Duration
	}{
		{"this occasion, at least a minute", 5 * time.Second, worker.Run{}, time.Minute},
		{"this occasion, two leases", time.Hour, worker.Run{}, 2 * time.Hour},
		{"daily", 5 * time.Second, worker.Daily(begin), 48 * time.Hour},
		{"hourly", 5 * time.Second, worker.Every(time.Hour, begin), 2 * time.Hour},
		{"as it says", 5 * time.Second, worker.Run{Name: "run", Retention: time.Hour}, time.Hour},
		{"once", 5 * time.Second, worker.Once("v1"), lock.NoExpiry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, begin, func(t *testing.T, b *bubble) {
				start := func(want worker.Outcome) {
					t.Helper()
					if outcome := b.start(worker.Config{TTL: tt.ttl}, worker.Job{Key: "job", Run: tt.run}, time.Second); outcome != want {
						t.Errorf("after %v: %v, want %v", time.Since(begin), outcome, want)
					}
				}
				start(worker.Completed)
				done, ever := time.Now(), tt.remembered == lock.NoExpiry
				if ever {
					tt.remembered = 50 * 365 * 24 * time.Hour
				}
				sleepUntil(done.Add(tt.remembered - time.Second))
				start(worker.CompletedElsewhere)
				sleepUntil(done.Add(tt.remembered + tt.ttl + time.Second)) // a lease more, for whoever would still settle
				if ever {
					start(worker.CompletedElsewhere)
				} else {
					start(worker.Completed)
				}
			})
		})
	}
}
