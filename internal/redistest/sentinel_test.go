package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	client := s.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.Set(ctx, "k", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Wait(ctx, 1, 10*time.Second).Result(); err != nil || n != 1 {
		t.Fatalf("replicated to %d, %v", n, err)
	}
	s.Primary().Kill()
	eventually(t, ctx, func(ctx context.Context) error { return client.Set(ctx, "k", "2", 0).Err() })
	if v, err := s.Replica().Client(t).Get(ctx, "k").Result(); err != nil || v != "2" {
		t.Errorf("on what was the replica: %q, %v", v, err)
	}
}
