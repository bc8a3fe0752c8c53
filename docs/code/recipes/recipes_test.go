package recipes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

// processes are Lockers of one cluster, as so many processes would have them.
func processes(t *testing.T, n int, cfg lock.Config) []*lock.Locker {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	cfg.Namespace = server.Namespace(t)
	all := make([]*lock.Locker, n)
	for i := range all {
		l, err := lock.New(server.Client(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		all[i] = l
	}
	return all
}

func workers(t *testing.T, n int, cfg worker.Config) []*worker.Worker {
	t.Helper()
	all := make([]*worker.Worker, n)
	for i, l := range processes(t, n, lock.Config{}) {
		w, err := worker.New(l, cfg)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = w
	}
	return all
}

// atOnce calls f for each of n at the same time, and returns their errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errs
}

func database(t *testing.T, statements ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func TestNightly(t *testing.T) {
	t.Parallel()
	db := database(t,
		`CREATE TABLE fences (job TEXT PRIMARY KEY, fence BIGINT NOT NULL)`,
		`CREATE TABLE orders (day TEXT NOT NULL)`,
		`CREATE TABLE reports (day TEXT PRIMARY KEY, orders BIGINT NOT NULL)`,
		`INSERT INTO orders VALUES ('2026-11-22'), ('2026-11-22'), ('2026-11-23')`)
	var attempts atomic.Int64
	reports := workers(t, 3, worker.Config{Handlers: worker.Handlers{OnAcquired: func(worker.Attempt) { attempts.Add(1) }}})
	evening := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	for day := range 2 {
		for _, err := range atOnce(3, func(i int) error { return Nightly(t.Context(), reports[i], db, evening.AddDate(0, 0, day)) }) {
			if err != nil {
				t.Error(err)
			}
		}
		if n := attempts.Load(); n != int64(day)+1 {
			t.Errorf("%d attempts after %d nights of three processes", n, day+1)
		}
	}
	written := func() (days string) {
		row := db.QueryRowContext(t.Context(), `SELECT group_concat(day || ': ' || orders, ', ' ORDER BY day) FROM reports`)
		if err := row.Scan(&days); err != nil {
			t.Fatal(err)
		}
		return days
	}
	if got := written(); got != "2026-11-22: 2, 2026-11-23: 1" {
		t.Errorf("reports %s", got)
	}

	// One that was paused for longer than its lease, and goes on after its successor.
	late := worker.Attempt{Job: worker.Job{Key: "nightly-report", Run: worker.Daily(evening)}, Fence: 1}
	if _, err := db.ExecContext(t.Context(), `DELETE FROM orders`); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(t.Context(), db, late); !errors.Is(err, errStale) {
		t.Errorf("a late attempt: %v", err)
	}
	if got := written(); got != "2026-11-22: 2, 2026-11-23: 1" {
		t.Errorf("a late attempt has written: %s", got)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	replicas := processes(t, 5, lock.Config{})
	var begun, migrated atomic.Int64
	for _, err := range atOnce(5, func(i int) error {
		err := Migrate(t.Context(), replicas[i], "v42", func(context.Context, worker.Attempt) error {
			begun.Add(1)
			migrated.Add(1)
			return nil
		})
		if migrated.Load() != 1 {
			t.Errorf("replica %d starts before the schema is there", i)
		}
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("migrated %d times", n)
	}
	broken := errors.New("syntax error")
	for _, err := range atOnce(5, func(i int) error {
		return Migrate(t.Context(), replicas[i], "v43", func(context.Context, worker.Attempt) error {
			begun.Add(1)
			return worker.Permanent(broken)
		})
	}) {
		if !errors.Is(err, worker.ErrExhausted) {
			t.Errorf("a replica would start with a broken schema: %v", err)
		}
	}
	if n := begun.Load(); n != 2 {
		t.Errorf("a broken migration was tried %d times", n-1)
	}
}

func TestLead(t *testing.T) {
	t.Parallel()
	candidates := processes(t, 2, lock.Config{TTL: 2 * time.Second})
	type term struct {
		candidate int
		fence     int64
	}
	elected := make(chan term)
	var leading atomic.Int64
	var ended sync.WaitGroup
	cancels := make([]context.CancelFunc, 2)
	for i, l := range candidates {
		ctx, cancel := context.WithCancel(t.Context())
		cancels[i] = cancel
		ended.Go(func() {
			err := Lead(ctx, l, "indexer", func(ctx context.Context, fence int64) error {
				if leading.Add(1) > 1 {
					t.Error("two lead")
				}
				defer leading.Add(-1)
				select {
				case elected <- term{i, fence}:
					<-ctx.Done()
				case <-ctx.Done():
				}
				return context.Cause(ctx)
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("candidate %d ended with %v", i, err)
			}
		})
	}
	next := func() term {
		t.Helper()
		select {
		case x := <-elected:
			return x
		case <-time.After(bound):
			t.Fatal("nobody leads")
			return term{}
		}
	}
	first := next()
	cancels[first.candidate]()
	second := next()
	if second.candidate == first.candidate || second.fence <= first.fence {
		t.Errorf("after %+v came %+v", first, second)
	}
	// Its lease is lost; when the lock is free again it leads again.
	if _, err := candidates[0].ForceLock(t.Context(), lock.Claim{Resource: "indexer", Owner: "somebody", TTL: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if third := next(); third.candidate != second.candidate || third.fence <= second.fence {
		t.Errorf("after %+v came %+v", second, third)
	}
	cancels[second.candidate]()
	ended.Wait()
}

func TestLeadEndsWithItsService(t *testing.T) {
	t.Parallel()
	broken := errors.New("no disk")
	err := Lead(t.Context(), processes(t, 1, lock.Config{})[0], "indexer", func(context.Context, int64) error { return broken })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestBill(t *testing.T) {
	t.Parallel()
	const tenants = 1200 // more than two pages
	db := database(t, `CREATE TABLE tenants (name TEXT PRIMARY KEY)`,
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO tenants SELECT printf('t%%05d', i) FROM n`, tenants))
	bills := workers(t, 2, worker.Config{MaxAttempts: 2, RetryDelay: worker.HandOver})
	var bill struct {
		sync.Mutex
		times map[string]int
	}
	bill.times = map[string]int{}
	broken := errors.New("no address")
	one := func(_ context.Context, tenant string, fence int64) error {
		bill.Lock()
		defer bill.Unlock()
		bill.times[tenant]++
		if tenant == "t00007" {
			return broken
		}
		if fence == 0 {
			t.Error("no fence")
		}
		return nil
	}
	summaries := make([]worker.Summary, 2)
	for _, err := range atOnce(2, func(i int) (err error) {
		summaries[i], err = Bill(t.Context(), bills[i], db, "2026-11", one)
		return err
	}) {
		if unfinished := new(worker.UnfinishedError); !errors.As(err, &unfinished) {
			t.Errorf("one tenant could not be billed, and the error is %v", err)
		}
	}
	for _, s := range summaries {
		if s.Done() != tenants-1 || s.Exhausted != 1 {
			t.Errorf("summary: %v", s)
		}
	}
	if len(bill.times) != tenants {
		t.Errorf("%d tenants of %d", len(bill.times), tenants)
	}
	for tenant, n := range bill.times {
		if want := map[bool]int{true: 2, false: 1}[tenant == "t00007"]; n != want {
			t.Errorf("tenant %s was billed %d times", tenant, n)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Bill(t.Context(), bills[0], db, "2026-12", one); err == nil {
		t.Error("the tenants could not be read, and there is no error")
	}
}

func TestAtMostOne(t *testing.T) {
	t.Parallel()
	two := processes(t, 2, lock.Config{TTL: 2 * time.Second})
	for range 2 {
		ran, err := AtMostOne(t.Context(), two[0], "cleanup", func(context.Context) error {
			if ran, err := AtMostOne(t.Context(), two[1], "cleanup", func(context.Context) error { return nil }); ran || err != nil {
				t.Errorf("beside it: %v, %v", ran, err)
			}
			return nil
		})
		if !ran || err != nil {
			t.Errorf("alone: %v, %v", ran, err)
		}
	}
	// A lease that is lost ends the work, and is told.
	told := false
	_, err := AtMostOne(t.Context(), two[0], "cleanup", func(ctx context.Context) error {
		if _, err := two[1].ForceUnlock(t.Context(), "cleanup"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			told = errors.Is(context.Cause(ctx), lock.ErrLeaseLost)
		case <-time.After(bound):
		}
		return nil
	})
	if !told || !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("told: %v, %v", told, err)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	if err := Look(t.Context(), redistest.Start(t, redistest.Any).Client(t)); err != nil {
		t.Error(err)
	}
}
