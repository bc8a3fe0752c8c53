package recipes

import (
	"context"
	"errors"

	"github.com/lockingworker/lockingworker/lock"
)

// Lead runs serve in one process of the cluster at a time, for as long as that process lives. The others stand by. It returns
// when ctx has ended, or serve has failed.
func Lead(ctx context.Context, locker *lock.Locker, service string, serve func(ctx context.Context, fence int64) error) error {
	for ctx.Err() == nil {
		err := locker.Do(ctx, lock.Claim{Resource: service}, func(ctx context.Context, lease *lock.Lease) error {
			return serve(ctx, lease.Fence()) // must return when its ctx ends: another one leads then
		})
		if ctx.Err() == nil && err != nil && !errors.Is(err, lock.ErrLeaseLost) {
			return err
		}
	}
	return context.Cause(ctx)
}
