package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// errStale says that a later grant of the lock has written already: this holder's lease is over, and nothing was written.
var errStale = errors.New("stale fence")

// fencesTable holds one row for each job, for ever: who deletes it lets stale writes in again. A fence is larger than
// 2^53, so no DOUBLE, and no number in JSON.
const fencesTable = `CREATE TABLE IF NOT EXISTS fences (job TEXT PRIMARY KEY, fence BIGINT NOT NULL)`

// writeSQL runs write in a transaction that first raises the job's fence. If a later grant has raised it beyond this one,
// write is not called, and the error is errStale. The statements are the same for SQLite and PostgreSQL.
//
// One fence for the job guards every row that write touches, also those that it inserts or deletes. Whoever reads in
// order to write reads inside write: from there on nobody with a smaller fence can come between.
func writeSQL(ctx context.Context, db *sql.DB, job string, fence int64, write func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if err := raise(ctx, tx, job, fence); err != nil {
		return err
	}
	if err := write(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// raise compares and sets in one statement. It also takes the row's lock (in SQLite the database's), which the transaction
// keeps until it is committed: other holders' writes wait for that, and are then compared with what was committed.
//
// Equal fences pass, since one holder may write more than once.
func raise(ctx context.Context, tx *sql.Tx, job string, fence int64) error {
	result, err := tx.ExecContext(ctx, `
		INSERT INTO fences (job, fence) VALUES ($1, $2)
		ON CONFLICT (job) DO UPDATE SET fence = excluded.fence WHERE fences.fence <= excluded.fence`, job, fence)
	if err != nil {
		return err
	}
	return refused(result, fence)
}

// writeRow is for work that writes one row and never deletes it: the row carries its fence itself, and one statement does
// all. It guards no other row.
func writeRow(ctx context.Context, db *sql.DB, name, body string, fence int64) error {
	result, err := db.ExecContext(ctx, `
		INSERT INTO reports (name, body, fence) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET body = excluded.body, fence = excluded.fence
		WHERE reports.fence <= excluded.fence`, name, body, fence)
	if err != nil {
		return err
	}
	return refused(result, fence)
}

// refused reports that a statement's WHERE has let nothing through.
func refused(result sql.Result, fence int64) error {
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		err = fmt.Errorf("%w %d", errStale, fence)
	}
	return err
}
