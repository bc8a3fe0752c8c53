package main

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// store is what two holders of one lock write to.
type store interface {
	write(ctx context.Context, job, text string, fence int64) error
	read(ctx context.Context, job string) (text string, fence int64, err error)
}

// reportsTable is what the jobs write. Its fence column is for writeRow.
const reportsTable = `CREATE TABLE IF NOT EXISTS reports (name TEXT PRIMARY KEY, body TEXT NOT NULL, fence BIGINT NOT NULL DEFAULT 0)`

// sqlStore is SQLite or PostgreSQL.
type sqlStore struct{ db *sql.DB }

func newSQLStore(ctx context.Context, db *sql.DB) (sqlStore, error) {
	_, err := db.ExecContext(ctx, fencesTable)
	if err == nil {
		_, err = db.ExecContext(ctx, reportsTable)
	}
	return sqlStore{db}, err
}

func (s sqlStore) write(ctx context.Context, job, text string, fence int64) error {
	return writeSQL(ctx, s.db, job, fence, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO reports (name, body) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body`, job, text)
		return err
	})
}

// read needs no fence. One statement sees the fence and what was written with it, or neither.
func (s sqlStore) read(ctx context.Context, job string) (text string, fence int64, err error) {
	err = s.db.QueryRowContext(ctx, `
		SELECT reports.body, fences.fence FROM reports JOIN fences ON fences.job = reports.name
		WHERE reports.name = $1`, job).Scan(&text, &fence)
	return text, fence, err
}

// rowStore is the same database, in which each row is guarded by itself.
type rowStore struct{ db *sql.DB }

func (s rowStore) write(ctx context.Context, job, text string, fence int64) error {
	return writeRow(ctx, s.db, rowOf(job), text, fence)
}

func (s rowStore) read(ctx context.Context, job string) (text string, fence int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT body, fence FROM reports WHERE name = $1`, rowOf(job)).Scan(&text, &fence)
	return text, fence, err
}

// rowOf keeps it apart from the row that sqlStore writes.
func rowOf(job string) string { return job + " by itself" }

// openSQLite opens a file. A writer waits for another's transaction for up to 10 s instead of failing at once.
func openSQLite(file string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
}

// openPostgres opens a database, in a schema whose tables are then found by their plain names.
func openPostgres(url, schema string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("DATABASE_URL: want postgres://user:password@host:port/database") // the parser's error may show it
	}
	config.RuntimeParams["search_path"] = `"` + schema + `"` // quoted, as it was created: case counts
	return stdlib.OpenDB(*config), nil
}

// redisStore is Redis as what is written to, be it that of the lock or another one.
type redisStore struct{ rdb redis.UniversalClient }

func (s redisStore) write(ctx context.Context, job, text string, fence int64) error {
	return setRedis(ctx, s.rdb, job, "report", text, fence)
}

// read takes both keys in one command, so that they belong together.
func (s redisStore) read(ctx context.Context, job string) (text string, fence int64, err error) {
	values, err := s.rdb.MGet(ctx, "{"+job+"}:report", "{"+job+"}:fence").Result()
	if err != nil {
		return "", 0, err
	}
	text, _ = values[0].(string)
	digits, _ := values[1].(string)
	fence, err = strconv.ParseInt(digits, 10, 64)
	return text, fence, err
}

// heedless is a store that takes whatever comes, to show what is then lost.
type heedless struct {
	mu    sync.Mutex
	text  string
	fence int64
}

func (s *heedless) write(_ context.Context, _, text string, fence int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.fence = text, fence
	return nil
}

func (s *heedless) read(context.Context, string) (text string, fence int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, s.fence, nil
}
