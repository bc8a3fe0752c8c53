package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// Job is a piece of work that one worker of many does.
type Job struct {
	Key string // the lock's name: 1 to 512 bytes, any bytes. One worker at a time has it, whatever the Run
	Run Run    // which occasion of the job this is: outcome and attempts belong to it
}

// String returns key and, where it has one, run, both quoted.
func (j Job) String() string {
	if j.Run.Name == "" {
		return fmt.Sprintf("%q", j.Key)
	}
	return fmt.Sprintf("%q run %q", j.Key, j.Run.Name)
}

func (j Job) id() lock.JobID { return lock.JobID{Key: j.Key, Run: j.Run.Name} }

// Run names an occasion of a job, for which the work is done once, and says how long it is remembered
// that it was. The zero Run is this occasion: remembered for 2 × Config.TTL, but at least a minute, so
// that who starts at about the same time learns that the work is done, and tomorrow's start does it
// again.
//
// Runs have names and no order: a late process with an old name neither undoes nor repeats anything. One
// key is worked on by one worker at a time, so a period that still runs delays the next.
type Run struct {
	Name string // 0 to 512 bytes, any bytes
	// Retention is how long the run is remembered after its last grant, renewal or settlement, at
	// least. 0 is as for the zero Run; lock.NoExpiry is for good. After that the work would be done
	// again, and its attempts counted anew.
	Retention time.Duration
}

// Once is a run that happens once, ever: the migration to a version, say. It is remembered for good.
func Once(name string) Run {
	return Run{Name: name, Retention: lock.NoExpiry}
}

// Daily is the run of t's calendar day in t's location, named like 2006-01-02 and remembered for two
// days. The location is no part of the name, so all workers should use the same one.
func Daily(t time.Time) Run {
	return Run{Name: t.Format(time.DateOnly), Retention: 48 * time.Hour}
}

// Every is the run of that period of length d which t is in. Periods are counted from the Unix epoch;
// the name is the period's start in UTC as in RFC 3339, with as many digits after the second as it
// needs. It is remembered for two periods. Where d is not positive, Run and Acquire refuse the job.
func Every(d time.Duration, t time.Time) Run {
	if d <= 0 {
		return Run{Retention: -1}
	}
	epoch := time.Unix(0, 0).UTC()
	sinceYear1 := epoch.Sub(epoch.Truncate(d)) // Truncate counts from the year 1
	start := t.UTC().Add(-sinceYear1).Truncate(d).Add(sinceYear1)
	return Run{Name: start.Format(time.RFC3339Nano), Retention: double(d)}
}

// retention is how long job's run is remembered.
func (c Config) retention(job Job) time.Duration {
	if job.Run.Retention != 0 {
		return job.Run.Retention
	}
	return max(double(c.TTL), time.Minute)
}

func double(d time.Duration) time.Duration {
	if d > math.MaxInt64/2 {
		return lock.NoExpiry
	}
	return 2 * d
}

// check returns all that is wrong with the arguments of a call, as one error.
func check(ctx context.Context, job Job) error {
	var errs []error
	if ctx == nil {
		errs = append(errs, invalid("ctx is nil"))
	}
	if job.Key == "" {
		errs = append(errs, invalid("Job.Key is empty"))
	}
	if n := len(job.Key); n > lock.MaxName {
		errs = append(errs, invalid("Job.Key has %d bytes: at most %d", n, lock.MaxName))
	}
	if n := len(job.Run.Name); n > lock.MaxName {
		errs = append(errs, invalid("Job.Run.Name has %d bytes: at most %d", n, lock.MaxName))
	}
	if job.Run.Retention < 0 {
		errs = append(errs, invalid("Job.Run.Retention %v: want 0 or more", job.Run.Retention))
	}
	return errors.Join(errs...)
}
