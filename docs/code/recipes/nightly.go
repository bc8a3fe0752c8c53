package recipes

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lockingworker/lockingworker/worker"
)

var errStale = errors.New("a later attempt has written already")

// Nightly has the report of now's day written, by whichever process comes first. It returns nil when the report is there.
func Nightly(ctx context.Context, reports *worker.Worker, db *sql.DB, now time.Time) error {
	job := worker.Job{Key: "nightly-report", Run: worker.Daily(now)}
	_, err := reports.Run(ctx, job, func(ctx context.Context, a worker.Attempt) error {
		return writeReport(ctx, db, a)
	})
	return err
}

// writeReport makes the report and writes it in a transaction that raises the job's fence before it does anything else. From
// there on nobody with a smaller fence can come between what is read and what is written.
func writeReport(ctx context.Context, db *sql.DB, a worker.Attempt) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	raised, err := tx.ExecContext(ctx, `
		INSERT INTO fences (job, fence) VALUES ($1, $2)
		ON CONFLICT (job) DO UPDATE SET fence = excluded.fence WHERE fences.fence <= excluded.fence`,
		a.Job.Key, a.Fence)
	if err != nil {
		return err
	}
	if rows, err := raised.RowsAffected(); err != nil || rows == 0 {
		return errors.Join(errStale, err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO reports (day, orders) SELECT $1, count(*) FROM orders WHERE day = $1
		ON CONFLICT (day) DO UPDATE SET orders = excluded.orders`,
		a.Job.Run.Name)
	if err != nil {
		return err
	}
	return tx.Commit()
}
