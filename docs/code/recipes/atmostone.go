package recipes

import (
	"context"
	"errors"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// AtMostOne runs f, unless another process of the cluster is at it: then it returns false at once. Nothing is remembered; the
// next call runs f again. f's context ends with ctx, and when the lease is lost.
func AtMostOne(ctx context.Context, locker *lock.Locker, resource string, f func(context.Context) error) (ran bool, err error) {
	lease, err := locker.TryHold(ctx, lock.Claim{Resource: resource})
	if errors.Is(err, lock.ErrHeld) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	work, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lease.Context(), func() { cancel(context.Cause(lease.Context())) })
	defer func() {
		stop()
		cancel(nil)
		bounded, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		err = errors.Join(err, lease.Release(bounded))
	}()
	return true, f(work)
}
