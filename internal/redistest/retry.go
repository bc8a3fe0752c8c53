package redistest

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Bounds of what is waited for. Measured on 4 cores: a process serves after 15 ms, a container after 500 ms, a cluster is
// complete after 2 s.
const (
	urlBound     = 2 * time.Second // the server of REDIS_URL is expected to run
	startBound   = 20 * time.Second
	clusterBound = 60 * time.Second
	pullBound    = 2 * time.Minute
	commandBound = 5 * time.Second
	leakBound    = 3 * time.Second
	askTimeout   = time.Second // of one node, which may be stopped
)

// retry calls op until it returns nil, the bound has passed, the context has ended, or op returns backoff.Permanent.
func retry(ctx context.Context, bound time.Duration, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(2*time.Millisecond),
		backoff.WithMaxInterval(100*time.Millisecond),
		backoff.WithMaxElapsedTime(0), // the context is the bound
	)
	var last error
	err := backoff.Retry(func() error {
		err := op(ctx)
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err
	}, backoff.WithContext(policy, ctx))
	if err != nil && ctx.Err() != nil && last != nil {
		return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
	}
	return err
}
