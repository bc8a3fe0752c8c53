package recipes

import (
	"context"
	"fmt"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Migrate returns nil when the schema is at version: one process has migrated it, and the others have waited. With an error
// the program must not start.
func Migrate(ctx context.Context, locker *lock.Locker, version string, migrate worker.Func) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	migrations, err := worker.New(locker, worker.Config{TTL: 15 * time.Second, MaxAttempts: 3})
	if err != nil {
		return err
	}
	job := worker.Job{Key: "migrate", Run: worker.Once(version)}
	if _, err := migrations.Run(ctx, job, migrate); err != nil {
		return fmt.Errorf("the schema is not at %s: %w", version, err)
	}
	return nil
}
