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
	// TryAwaitSome claims n of a collection: one lease for each, nil where it was not granted.
	TryAwaitSome(ctx context.Context, n int, claims []lock.JobClaim) ([]lease, []lock.JobResult, error)
	// SettleAll settles leases, in one call: one error for each.
	SettleAll(ctx context.Context, leases []lease, settlements []lock.Settlement) []error
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

func (j lockJobs) TryAwaitSome(ctx context.Context, n int, claims []lock.JobClaim) ([]lease, []lock.JobResult, error) {
	granted, results, err := j.Jobs.TryAwaitSome(ctx, n, claims...)
	leases := make([]lease, len(granted))
	for i, l := range granted {
		if l != nil {
			leases[i] = l
		}
	}
	return leases, results, err
}

func (j lockJobs) SettleAll(ctx context.Context, leases []lease, settlements []lock.Settlement) []error {
	for i, l := range leases {
		settlements[i].Lease = l.(*lock.JobLease)
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
