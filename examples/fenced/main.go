// Fenced shows what a fence is for. Two holders of one lock write to the same places: one of them is paused for longer than
// its lease, and when it goes on it writes, since nothing has told it yet. Wherever the fence is compared that write is
// refused; where it is not, it destroys what the second holder has written.
//
//	go run -C examples/fenced .
//
// The places are SQLite (a file in the temporary folder), Redis, and, if DATABASE_URL is set, PostgreSQL, in a schema that is
// removed in the end. The lock is in the Redis at REDIS_URL; without that one is started in this process.
//
// What is to be copied from here is short: writeSQL, raise and writeRow in sql.go, fencedSet and setRedis in redis.go. The
// package is a module of its own, so that the drivers are in nobody else's go.mod.
//
// Exit status: 0 if all came about as described, 1 if not.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Getenv("REDIS_URL"), os.Getenv("DATABASE_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "fenced:", err)
		os.Exit(1)
	}
}

// run opens the places and plays the scene in them.
func run(ctx context.Context, out io.Writer, redisURL, databaseURL string) (err error) {
	rdb, closeRedis, err := connect(redisURL)
	if err != nil {
		return err
	}
	defer closeRedis()
	dir, err := os.MkdirTemp("", "fenced")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lite, err := openSQLite(filepath.Join(dir, "fenced.db"))
	if err != nil {
		return err
	}
	defer lite.Close()
	sqlite, err := newSQLStore(ctx, lite)
	if err != nil {
		return err
	}
	job := "report-" + rand.Text()[:8]
	defer rdb.Del(ctx, "{"+job+"}:report", "{"+job+"}:fence")
	places := []place{
		{"no fence", &heedless{}, false},
		{"SQLite", sqlite, true},
		{"one row", rowStore{lite}, true},
		{"Redis", redisStore{rdb}, true},
	}
	missing := "PostgreSQL is left out, since DATABASE_URL is not set.\n"
	if databaseURL != "" {
		missing = ""
		pg, drop, err := ownSchema(ctx, databaseURL, "fenced_"+rand.Text()[:8])
		if err != nil {
			return fmt.Errorf("PostgreSQL: %w", err)
		}
		defer drop()
		places = append(places, place{"PostgreSQL", pg, true})
	}
	if err := play(ctx, out, rdb, job, places); err != nil {
		return err
	}
	fmt.Fprint(out, "\nWithout a fence the late write won. With one it was refused everywhere.\n", missing)
	return nil
}

// connect returns a client of the Redis at url, or of one that it starts.
func connect(url string) (rdb *redis.Client, end func(), err error) {
	if url == "" {
		m := miniredis.NewMiniRedis()
		m.ClockTTL(true) // keys expire by the clock
		if err := m.StartAddr("127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		rdb = redis.NewClient(&redis.Options{Addr: m.Addr()})
		return rdb, func() { _ = rdb.Close(); m.Close() }, nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, errors.New("REDIS_URL: want redis://user:password@host:port/database") // the parser's error shows it
	}
	rdb = redis.NewClient(options)
	return rdb, func() { _ = rdb.Close() }, nil
}

// ownSchema opens PostgreSQL, in a new schema that drop removes.
func ownSchema(ctx context.Context, url, schema string) (s sqlStore, drop func(), err error) {
	db, err := openPostgres(url, schema)
	if err != nil {
		return s, nil, err
	}
	if _, err = db.ExecContext(ctx, `CREATE SCHEMA "`+schema+`"`); err == nil {
		s, err = newSQLStore(ctx, db)
	}
	drop = func() { dropSchema(ctx, db, schema) }
	if err != nil {
		drop()
	}
	return s, drop, err
}

func dropSchema(ctx context.Context, db *sql.DB, schema string) {
	_, _ = db.ExecContext(ctx, `DROP SCHEMA IF EXISTS "`+schema+`" CASCADE`)
	_ = db.Close()
}
