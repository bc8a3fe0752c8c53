package lock

// Temporary: signatures for packages that are written at the same time.

import (
	"context"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"
)

type Locker struct{}
type Stats struct {
	Leases     int           // leases that are kept now
	Waiters    int           // calls that wait now
	RenewalLag time.Duration // how late the last batch of renewals was answered, after its due time
}
type Query struct{ Prefix, Owner string }

func New(rdb redis.UniversalClient, cfg Config) (*Locker, error) { panic("stub") }
func (l *Locker) Close() error                                   { panic("stub") }
func (l *Locker) Stats() Stats                                   { panic("stub") }

func (l *Locker) TryLock(ctx context.Context, claims ...Claim) (Results, error)    { panic("stub") }
func (l *Locker) TryLockAll(ctx context.Context, claims ...Claim) (Results, error) { panic("stub") }
func (l *Locker) ForceLock(ctx context.Context, claims ...Claim) (Results, error)  { panic("stub") }
func (l *Locker) Extend(ctx context.Context, claims ...Claim) (Results, error)     { panic("stub") }
func (l *Locker) Unlock(ctx context.Context, claims ...Claim) (Results, error)     { panic("stub") }
func (l *Locker) ForceUnlock(ctx context.Context, resources ...string) (Results, error) {
	panic("stub")
}
func (l *Locker) Owners(ctx context.Context, resources ...string) (Results, error) { panic("stub") }
func (l *Locker) List(ctx context.Context, q Query) iter.Seq2[Result, error]       { panic("stub") }
func (l *Locker) Do(ctx context.Context, c Claim, f func(context.Context, *Lease) error) error {
	panic("stub")
}
func (l *Locker) Hold(ctx context.Context, c Claim) (*Lease, error)             { panic("stub") }
func (l *Locker) TryHold(ctx context.Context, c Claim) (*Lease, error)          { panic("stub") }
func (l *Locker) Keep(ctx context.Context, granted ...Result) ([]*Lease, error) { panic("stub") }
func (l *Locker) Watch(ctx context.Context, kinds ...EventKind) (iter.Seq[Event], error) {
	panic("stub")
}

type Lease struct{}

func (l *Lease) Resource() string                  { panic("stub") }
func (l *Lease) Owner() string                     { panic("stub") }
func (l *Lease) Fence() int64                      { panic("stub") }
func (l *Lease) Deadline() time.Time               { panic("stub") }
func (l *Lease) Context() context.Context          { panic("stub") }
func (l *Lease) Release(ctx context.Context) error { panic("stub") }

type Jobs struct{ l *Locker }

func (l *Locker) Jobs() Jobs { return Jobs{l} }

func (j Jobs) Claim(ctx context.Context, claims ...JobClaim) ([]JobResult, error) { panic("stub") }

// Await waits until the attempt is granted and keeps its lease.
func (j Jobs) Await(ctx context.Context, claim JobClaim) (*JobLease, JobResult, error) {
	panic("stub")
}

// TryAwait claims once, without waiting, and keeps the lease that was granted.
func (j Jobs) TryAwait(ctx context.Context, claim JobClaim) (*JobLease, JobResult, error) {
	panic("stub")
}
func (j Jobs) Settle(ctx context.Context, s ...Settlement) (Results, error) { panic("stub") }
func (j Jobs) Get(ctx context.Context, ids ...JobID) ([]JobInfo, error)     { panic("stub") }
func (j Jobs) List(ctx context.Context, q JobQuery) iter.Seq2[JobInfo, error] {
	panic("stub")
}
func (j Jobs) Reset(ctx context.Context, ids ...JobID) error { panic("stub") }

// JobLease is an attempt that was granted and is kept until it is settled.
type JobLease struct{}

func (jl *JobLease) Context() context.Context { panic("stub") } // values of Await's ctx; ends with cause ErrLeaseLost, ErrReleased or ErrClosed
func (jl *JobLease) Grant() Result            { panic("stub") }
func (jl *JobLease) Job() JobInfo             { panic("stub") } // as it was granted; Attempt is this attempt's number
func (jl *JobLease) Deadline() time.Time      { panic("stub") }

// Settle fills in Grant and ID, settles, and ends the lease with ErrReleased when the outcome is known.
func (jl *JobLease) Settle(ctx context.Context, s Settlement) error { panic("stub") }

// Lapse stops renewing; nothing is released, the lease runs out by itself.
func (jl *JobLease) Lapse() { panic("stub") }
