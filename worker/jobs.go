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

func asLease(l *lock.JobLease, result lock.JobResult, err error) (lease, lock.JobResult, error) {
	if err != nil {
		return nil, result, err // not a nil *JobLease in a lease that is not nil
	}
	return l, result, nil
}
