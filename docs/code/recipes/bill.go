package recipes

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/lockingworker/lockingworker/worker"
)

// Bill has every tenant billed for the month, each by one of the processes that call it. The error is nil if and only if all of
// them are billed.
func Bill(ctx context.Context, bills *worker.Worker, db *sql.DB, month string, bill func(ctx context.Context, tenant string, fence int64) error) (worker.Summary, error) {
	run := worker.Run{Name: month, Retention: 62 * 24 * time.Hour}
	var broken error
	jobs := func(yield func(worker.Job) bool) {
		for last := ""; ; {
			var page []string
			if page, broken = tenantsAfter(ctx, db, last); broken != nil || len(page) == 0 {
				return
			}
			for _, last = range page {
				if !yield(worker.Job{Key: "bill/" + last, Run: run}) {
					return
				}
			}
		}
	}
	summary, err := bills.RunAll(ctx, jobs, func(ctx context.Context, a worker.Attempt) error {
		return bill(ctx, strings.TrimPrefix(a.Job.Key, "bill/"), a.Fence)
	})
	return summary, errors.Join(broken, err)
}

func tenantsAfter(ctx context.Context, db *sql.DB, last string) (page []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT name FROM tenants WHERE name > $1 ORDER BY name LIMIT 500`, last)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		page = append(page, name)
	}
	return page, rows.Err()
}
