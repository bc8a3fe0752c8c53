package worker

import (
	"context"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// jobs is all that a worker needs of Redis. Tests put theirs here.
type jobs interface {
	Await(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error)
	TryAwait(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error)
	// TryAwaitAll claims a collection: one lease for each, nil where it was not granted.
	TryAwaitAll(ctx context.Context, claims []lock.JobClaim) ([]lease, []lock.JobResult, error)
	// GiveBackAll settles leases as returned, in one call: one error for each.
	GiveBackAll(ctx context.Context, leases []lease, retentions []time.Duration) []error
	Get(ctx context.Context, ids ...lock.JobID) ([]lock.JobInfo, error)
	Reset(ctx context.Context, ids ...lock.JobID) error
}

// lease is an attempt that is kept; *lock.JobLease is one.
type lease interface {
	Context() context.Context
	Grant() lock.Result
	Job() lock.JobInfo
	Deadline() time.Time
	Settle(ctx context.Context, s lock.Settlement) error
	Lapse()
}

// lockJobs is lock.Jobs as jobs.
type lockJobs struct{ lock.Jobs }

func (j lockJobs) Await(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
	return asLease(j.Jobs.Await(ctx, claim))
}

func (j lockJobs) TryAwait(ctx context.Context, claim lock.JobClaim) (lease, lock.JobResult, error) {
	return asLease(j.Jobs.TryAwait(ctx, claim))
}

func (j lockJobs) TryAwaitAll(ctx context.Context, claims []lock.JobClaim) ([]lease, []lock.JobResult, error) {
	granted, results, err := j.Jobs.TryAwaitAll(ctx, claims...)
	leases := make([]lease, len(granted))
	for i, l := range granted {
		if l != nil {
			leases[i] = l
		}
	}
	return leases, results, err
}

func (j lockJobs) GiveBackAll(ctx context.Context, leases []lease, retentions []time.Duration) []error {
	settlements := make([]lock.Settlement, len(leases))
	for i, l := range leases {
		settlements[i] = lock.Settlement{Lease: l.(*lock.JobLease), End: lock.Returned, Retention: retentions[i]}
	}
	results, err := j.Settle(ctx, settlements...)
	errs := make([]error, len(leases))
	for i := range errs {
		if errs[i] = err; len(results) > 0 {
			errs[i] = results[i].Err
		}
	}
	return errs
}

func asLease(l *lock.JobLease, result lock.JobResult, err error) (lease, lock.JobResult, error) {
	if err != nil {
		return nil, result, err // not a nil *JobLease in a lease that is not nil
	}
	return l, result, nil
}
