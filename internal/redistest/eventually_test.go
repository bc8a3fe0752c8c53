package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// eventually calls op until it succeeds, at most until ctx ends.
func eventually(t *testing.T, ctx context.Context, op func(context.Context) error) {
	t.Helper()
	err := backoff.Retry(func() error { return op(ctx) },
		backoff.WithContext(backoff.NewConstantBackOff(10*time.Millisecond), ctx))
	if err != nil {
		t.Fatal(err)
	}
}
