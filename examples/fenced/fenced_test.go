package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestSQLite(t *testing.T) {
	t.Parallel()
	db, err := openSQLite(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := newSQLStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	testSQL(t, s)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	url := postgres(t)
	s, drop, err := ownSchema(t.Context(), url, "fenced_test_"+strconv.FormatUint(rand.Uint64(), 36))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	testSQL(t, s)
	t.Run("the program", func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), &out, "", url); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if !strings.Contains(out.String(), "PostgreSQL") || strings.Contains(out.String(), "left out") {
			t.Errorf("it says\n%s", &out)
		}
		t.Logf("\n%s", &out)
		var left int
		err := s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'fenced\_%' AND nspname NOT LIKE 'fenced\_test\_%'`).Scan(&left)
		if err != nil || left > 0 {
			t.Errorf("schemas left behind: %d, %v", left, err)
		}
	})
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	rdb := server.Client(t)
	testStore(t, redisStore{rdb}, server.Namespace(t))
}

func testSQL(t *testing.T, s sqlStore) {
	t.Run("one fence for the job", func(t *testing.T) {
		testStore(t, s, "job")
		t.Run("a write that fails raises no fence", func(t *testing.T) {
			mine := errors.New("not today")
			if err := writeSQL(t.Context(), s.db, "fails", big+1, func(*sql.Tx) error { return mine }); !errors.Is(err, mine) {
				t.Fatalf("got %v", err)
			}
			must(t, s.write(t.Context(), "fails", "before", big))
		})
		t.Run("a stale write is not even begun", func(t *testing.T) {
			nothing := func(*sql.Tx) error { return nil } // it raises the fence, and no more: before a first look, say
			must(t, writeSQL(t.Context(), s.db, "begun", big+1, nothing))
			err := writeSQL(t.Context(), s.db, "begun", big, func(*sql.Tx) error {
				t.Error("called")
				return nil
			})
			refusedAsStale(t, err)
		})
	})
	t.Run("a row's own fence", func(t *testing.T) { testStore(t, rowStore(s), "job") })
}

// big is where neighbours are the same number to a float64.
const big = 1 << 53

// testStore is what every store has to pass. prefix is where it may write.
func testStore(t *testing.T, s store, prefix string) {
	t.Helper()
	ctx := t.Context()
	is := func(t *testing.T, job, text string, fence int64) {
		t.Helper()
		gotText, gotFence, err := s.read(ctx, job)
		if err != nil || gotText != text || gotFence != fence {
			t.Errorf("there is %q with fence %d (%v), want %q with %d", gotText, gotFence, err, text, fence)
		}
	}
	for name, fences := range map[string][2]int64{
		"small":                   {9, 10},        // as text of their own lengths they would be the other way round
		"neighbours beyond 2^53":  {big, big + 1}, // as floats they would be equal
		"as lock grants them":     {1795363088448857000, 1795363088448857001},
		"the largest that exists": {1<<63 - 2, 1<<63 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			job, older, newer := prefix+" "+name, fences[0], fences[1]
			must(t, s.write(ctx, job, "first", older))
			is(t, job, "first", older)
			must(t, s.write(ctx, job, "the same holder again", older))
			is(t, job, "the same holder again", older)
			must(t, s.write(ctx, job, "the next holder", newer))
			is(t, job, "the next holder", newer)
			refusedAsStale(t, s.write(ctx, job, "too late", older))
			is(t, job, "the next holder", newer)
			must(t, s.write(ctx, job, "the next holder again", newer))
			is(t, job, "the next holder again", newer)
		})
	}
	t.Run("jobs are apart", func(t *testing.T) {
		must(t, s.write(ctx, prefix+" one", "one", big+1))
		must(t, s.write(ctx, prefix+" another", "another", big))
		is(t, prefix+" one", "one", big+1)
		is(t, prefix+" another", "another", big)
	})
	t.Run("many at once", func(t *testing.T) { manyAtOnce(t, s, prefix+" many") })
	t.Run("ended context", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.write(ended, prefix+" ended", "ended", 1); err == nil {
			t.Error("accepted")
		}
	})
}

// manyAtOnce lets holders write in no order, while others look. Whoever looks must never see the fence go back, nor a
// text that was not written with it; the last word is the largest fence's, and nobody is told that his write was refused
// who has the largest.
func manyAtOnce(t *testing.T, s store, job string) {
	t.Helper()
	const holders, writes, readers = 8, 12, 2
	ctx := t.Context()
	must(t, s.write(ctx, job, strconv.Itoa(big), big))
	done := make(chan struct{})
	var writing, reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			var last int64
			for ended := false; !ended; {
				select {
				case <-done:
					ended = true // and look once more
				default:
				}
				text, fence, err := s.read(ctx, job)
				if err != nil || text != strconv.FormatInt(fence, 10) || fence < last {
					t.Errorf("%q with fence %d after %d: %v", text, fence, last, err)
					return
				}
				last = fence
			}
		})
	}
	for n := range int64(holders) {
		writing.Go(func() {
			// Each has a small and a large fence in turn, so that stale writes meet newer ones all the time.
			for i := range int64(writes) {
				fence := big + 1 + (i*holders+n*7)%(holders*writes)
				err := s.write(ctx, job, strconv.FormatInt(fence, 10), fence)
				if err != nil && !errors.Is(err, errStale) || fence == big+holders*writes && err != nil {
					t.Errorf("fence %d: %v", fence, err)
				}
			}
		})
	}
	writing.Wait()
	must(t, s.write(ctx, job, strconv.FormatInt(big+holders*writes, 10), big+holders*writes))
	close(done)
	reading.Wait()
	refusedAsStale(t, s.write(ctx, job, "too late", big+holders*writes-1))
}

func TestProgram(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &out, "", ""); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "PostgreSQL is left out") || !strings.Contains(out.String(), "Without a fence the late write won.") {
		t.Errorf("it says\n%s", &out)
	}
}

// Without the comparison the program must not say that all is well.
func TestProgramNoticesAMissingFence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	var out bytes.Buffer
	err := play(t.Context(), &out, server.Client(t), server.Namespace(t), []place{{"broken", &heedless{}, true}})
	if err == nil || !strings.Contains(err.Error(), `there is "by A", want "by B"`) {
		t.Errorf("got %v after\n%s", err, &out)
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	for name, urls := range map[string][2]string{
		"REDIS_URL":    {"redis://u:secret@:x/y/z", ""},
		"DATABASE_URL": {"", "postgres://u:secret@h:x/db"},
	} {
		err := run(t.Context(), &bytes.Buffer{}, urls[0], urls[1])
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refusedAsStale(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errStale) {
		t.Errorf("a stale write: got %v", err)
	}
}
