package recipes

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// Look prints what is wrong with a Redis, and what to do about it.
func Look(ctx context.Context, rdb redis.UniversalClient) error {
	report, err := lock.Check(ctx, rdb, lock.Config{})
	log.Print(report)
	return err
}
