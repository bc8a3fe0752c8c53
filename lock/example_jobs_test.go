package lock_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockingworker/lockingworker/lock"
)

// A batch of jobs is claimed in one call, and settled in one.
func ExampleJobs_Claim() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()
	jobs := locker.Jobs()
	var claims []lock.JobClaim
	for _, tenant := range []string{"acme", "globex", "initech"} {
		claims = append(claims, lock.JobClaim{
			ID:          lock.JobID{Key: "bill/" + tenant, Run: "2026-11"},
			MaxAttempts: 3,
			Retention:   lock.NoExpiry,
		})
	}

	for range 2 {
		results, err := jobs.Claim(ctx, claims...)
		if err != nil && !errors.Is(err, lock.ErrJobDone) {
			fmt.Println(err)
			return
		}
		var ends []lock.Settlement
		for _, r := range results {
			if r.Grant.Err != nil {
				fmt.Println(r.Job.ID.Key, "-", r.Grant.Err)
				continue
			}
			end := lock.Settlement{Grant: r.Grant, ID: r.Job.ID, End: lock.Done, Retention: lock.NoExpiry}
			if r.Job.ID.Key == "bill/globex" && r.Job.Attempt == 1 {
				end.End, end.Cause = lock.Failed, "no address"
			}
			fmt.Println(r.Job.ID.Key, "attempt", r.Job.Attempt, end.End)
			ends = append(ends, end)
		}
		if _, err := jobs.Settle(ctx, ends...); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// bill/acme attempt 1 done
	// bill/globex attempt 1 failed
	// bill/initech attempt 1 done
	// bill/acme - lock: job is done
	// bill/globex attempt 2 done
	// bill/initech - lock: job is done
}

// Which jobs have failed for good, and why; then they may be tried again.
func ExampleJobs_List() {
	locker, disconnect := exampleLocker()
	defer disconnect()
	ctx := context.Background()
	jobs := locker.Jobs()
	claim := lock.JobClaim{ID: lock.JobID{Key: "import", Run: "november"}, MaxAttempts: 2, Retention: lock.NoExpiry}
	for _, cause := range []string{"no disk space", "file is damaged"} {
		results, err := jobs.Claim(ctx, claim)
		if err != nil {
			fmt.Println(err)
			return
		}
		failure := lock.Settlement{Grant: results[0].Grant, ID: claim.ID, End: lock.Failed, Retention: claim.Retention, Cause: cause}
		if _, err := jobs.Settle(ctx, failure); err != nil {
			fmt.Println(err)
			return
		}
	}

	for job, err := range jobs.List(ctx, lock.JobQuery{State: lock.JobExhausted}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(job.ID.Key, job.ID.Run, job.State)
		for _, a := range job.Attempts {
			fmt.Printf("#%d %s: %s\n", a.Number, a.End, a.Cause)
		}
		fmt.Println("reset:", jobs.Reset(ctx, job.ID))
	}
	infos, err := jobs.Get(ctx, claim.ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(infos[0].State)
	// Output:
	// import november exhausted
	// #1 failed: no disk space
	// #2 failed: file is damaged
	// reset: <nil>
	// absent
}
