package lock_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// checked is a Check that must succeed.
func checked(t testing.TB, rdb redis.UniversalClient, cfg lock.Config) lock.Report {
	t.Helper()
	r, err := lock.Check(bounded(t), rdb, cfg)
	wantErr(t, err, nil)
	return r
}

// finding returns the first with a code.
func finding(t testing.TB, r lock.Report, code string) lock.Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f lock.Finding) bool { return f.Code == code })
	if i < 0 {
		t.Fatalf("no finding %q in\n%s", code, r)
	}
	return r.Findings[i]
}

func wantFinding(t testing.TB, r lock.Report, severity lock.Severity, code, contains string) {
	t.Helper()
	f := finding(t, r, code)
	if f.Severity != severity || !strings.Contains(f.Found, contains) {
		t.Errorf("found %s\nwant %v with %q", f, severity, contains)
	}
	if f.Severity > lock.SeverityInfo && f.Do == "" {
		t.Errorf("it does not say what to do: %s", f)
	}
}

func wantNoFinding(t testing.TB, r lock.Report, codes ...string) {
	t.Helper()
	for _, f := range r.Findings {
		for _, code := range codes {
			if f.Code == code {
				t.Errorf("found %s", f)
			}
		}
	}
}

func TestCheckFindsNothingWrongWithAGoodServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own, redistest.AppendOnly())
	ns := s.Namespace(t)
	wantFinding(t, checked(t, s.Client(t), lock.Config{Namespace: ns}), lock.SeverityInfo, "namespace-new", ns)
	l := newLocker(t, s, lock.Config{Namespace: ns})
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claims("me", names("r", 300)...)...))
	desk{t, l}.granted(lock.JobClaim{ID: lock.JobID{Key: "job", Run: "run"}, Owner: "me", MaxAttempts: 3})
	before := contents(t, s.Client(t), keysOf(ns, 0)[1])
	r := checked(t, s.Client(t), lock.Config{Namespace: ns})
	if r.Worst() != lock.SeverityInfo {
		t.Errorf("found\n%s", r)
	}
	wantFinding(t, r, lock.SeverityInfo, "version", "Redis ")
	wantFinding(t, r, lock.SeverityInfo, "persistence", "every write")
	wantFinding(t, r, lock.SeverityInfo, "replicas", "no replicas")
	wantFinding(t, r, lock.SeverityInfo, "clock", "ahead of")
	wantNoFinding(t, r, "unreadable", "namespace-new")
	if after := contents(t, s.Client(t), keysOf(ns, 0)[1]); after != before {
		t.Error("Check has changed something")
	}
}

func TestCheckWritesNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own, redistest.User(account("app", lock.ACLOf("app", false))))
	admin := s.Client(t)
	for _, rdb := range []*redis.Client{admin, as(t, s, "app")} { // asking ACL DRYRUN, and trying
		if r := checked(t, rdb, lock.Config{Namespace: "app"}); r.Worst() == lock.SeverityProblem {
			t.Errorf("found\n%s", r)
		}
		if n := must[int64](t)(admin.DBSize(bounded(t)).Result()); n != 0 {
			t.Errorf("%d keys are there", n)
		}
	}
	wantErr(t, admin.HSet(bounded(t), "{app:0}:meta", "shards", "1").Err(), nil)
	before := must[string](t)(admin.Dump(bounded(t), "{app:0}:meta").Result())
	checked(t, as(t, s, "app"), lock.Config{Namespace: "app"})
	if must[string](t)(admin.Dump(bounded(t), "{app:0}:meta").Result()) != before {
		t.Error("Check has changed the shard")
	}
}

func TestCheckTellsWhatItMayNotRead(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own, redistest.User(account("app", lock.ACLOf("app", false))))
	r := checked(t, as(t, s, "app"), lock.Config{Namespace: "app"})
	said := r.String()
	for _, what := range []string{"version", "maxmemory-policy", "appendonly", "replicas", "SCAN"} {
		if !strings.Contains(said, what) {
			t.Errorf("it does not say that %s could not be read:\n%s", what, said)
		}
	}
	wantNoFinding(t, r, "right-missing", "eviction", "version")

	// A managed service: INFO, and no CONFIG.
	wantErr(t, s.Client(t).ACLSetUser(bounded(t), "app", "+@all", "-config", "~*", "&*").Err(), nil)
	r = checked(t, as(t, s, "app"), lock.Config{Namespace: "app"})
	wantFinding(t, r, lock.SeverityInfo, "version", "Redis")
	wantFinding(t, r, lock.SeverityInfo, "unreadable", "save")
}

func TestCheckTellsWhatEndangersLocks(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	admin := s.Client(t)
	for _, test := range []struct {
		name, directive, value string
		severity               lock.Severity
		code, contains         string
	}{
		{"eviction", "maxmemory-policy", "allkeys-lru", lock.SeverityProblem, "eviction", "allkeys-lru"},
		{"eviction of what expires", "maxmemory-policy", "volatile-ttl", lock.SeverityWarning, "eviction", "volatile-ttl"},
		{"noeviction", "maxmemory-policy", "noeviction", lock.SeverityWarning, "persistence-none", "restart"},
		{"a limit", "maxmemory", "100mb", lock.SeverityInfo, "memory", "104857600"},
		{"snapshots", "save", "3600 1", lock.SeverityWarning, "persistence-snapshots", "3600 1"},
		{"append-only", "appendonly", "yes", lock.SeverityWarning, "persistence-second", "each second"},
		{"never synced", "appendfsync", "no", lock.SeverityWarning, "persistence-second", `"no"`},
		{"synced", "appendfsync", "always", lock.SeverityInfo, "persistence", "every write"},
		{"replicas wanted", "min-replicas-to-write", "1", lock.SeverityProblem, "replicas-few", "replicas: 0"},
	} {
		wantErr(t, admin.ConfigSet(bounded(t), test.directive, test.value).Err(), nil)
		t.Run(test.name, func(t *testing.T) {
			wantFinding(t, checked(t, admin, lock.Config{}), test.severity, test.code, test.contains)
		})
	}
}

func TestCheckTellsOfReplicas(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	r := checked(t, s.Client(t), lock.Config{})
	wantFinding(t, r, lock.SeverityWarning, "replicas-unguarded", "replicas: 1")
	wantFinding(t, checked(t, s.Replica().Client(t), lock.Config{}), lock.SeverityProblem, "replica", "is a replica")
	wantErr(t, s.Primary().Client(t).ConfigSet(bounded(t), "min-replicas-to-write", "1").Err(), nil)
	wantFinding(t, checked(t, s.Client(t), lock.Config{}), lock.SeverityInfo, "replicas", "at least 1")
}

func TestCheckLooksAtTheKeys(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		rdb := w.rdb(t)
		keys := keysOf(w.ns, 0)
		l := w.locker(t, lock.Config{Shards: 1})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a")...))
		wantErr(t, rdb.HSet(ctx, keys[1], "bad", "secret payload").Err(), nil)
		wantErr(t, rdb.HSet(ctx, keys[4], "no place", "secret payload").Err(), nil)
		wantErr(t, rdb.Del(ctx, keys[3]).Err(), nil)
		wantErr(t, rdb.Set(ctx, keys[3], "foreign", 0).Err(), nil)
		wantErr(t, rdb.Set(ctx, "{"+w.ns+":0}:stranger", "foreign", 0).Err(), nil)
		wantErr(t, rdb.HSet(ctx, keys[0], "fence", "x").Err(), nil)
		r := checked(t, rdb, lock.Config{Namespace: w.ns, Shards: 1})
		wantFinding(t, r, lock.SeverityProblem, "type-foreign", keys[3])
		wantFinding(t, r, lock.SeverityWarning, "key-foreign", ":stranger")
		said := r.String()
		for _, name := range []string{`"bad"`, `"no place"`, `"fence"`} {
			if !strings.Contains(said, name) {
				t.Errorf("%s is not found in\n%s", name, said)
			}
		}
		if strings.Contains(said, "payload") {
			t.Errorf("it shows values:\n%s", said)
		}
		wantNoFinding(t, r, "shards-mismatch", "right-missing")
		r = checked(t, rdb, lock.Config{Namespace: w.ns, Shards: 3})
		wantFinding(t, r, lock.SeverityProblem, "shards-mismatch", `has "1"`)
	})
}

func TestCheckLooksAtEveryMaster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	rdb := c.Client(t)
	r := checked(t, rdb, lock.Config{Namespace: "app"})
	for _, code := range []string{"version", "cluster", "persistence-none"} {
		if f := finding(t, r, code); f.Node != "every master" {
			t.Errorf("found %s", f)
		}
	}
	one := c.Masters()[0]
	wantErr(t, one.Client(t).ConfigSet(bounded(t), "maxmemory-policy", "allkeys-random").Err(), nil)
	if f := finding(t, checked(t, rdb, lock.Config{Namespace: "app"}), "eviction"); f.Node != one.Addr() {
		t.Errorf("found %s", f)
	}
	wantNoFinding(t, r, "cluster-state", "cluster-slots", "right-missing", "unreadable", "clock-nodes")
	wantFinding(t, checked(t, c.Masters()[0].Client(t), lock.Config{}), lock.SeverityProblem, "cluster-client", "node of a Cluster")

	// Two of three masters are needed to promote a replica.
	dead := c.Masters()[:2]
	for _, s := range dead {
		s.Kill()
	}
	eventually(t, "the end of the cluster's health", func() bool {
		r, err := lock.Check(bounded(t), rdb, lock.Config{Namespace: "app"})
		codes := map[string]bool{}
		for _, f := range r.Findings {
			codes[f.Code] = true
		}
		return err == nil && codes["cluster-state"] && codes["node-unreachable"]
	})
}

func TestCheckFailsOnlyWhereNothingCanBeAsked(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	rdb := s.Client(t)
	for name, call := range map[string]func() error{
		"client": func() error { _, err := lock.Check(bounded(t), nil, lock.Config{}); return err },
		"nil client": func() error {
			_, err := lock.Check(bounded(t), (*redis.Client)(nil), lock.Config{})
			return err
		},
		"context": func() error {
			var none context.Context
			_, err := lock.Check(none, rdb, lock.Config{})
			return err
		},
		"namespace": func() error {
			_, err := lock.Check(bounded(t), rdb, lock.Config{Namespace: "{x}"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(bounded(t))
	cancel()
	_, err := lock.Check(ended, rdb, lock.Config{})
	wantErr(t, err, context.Canceled)

	s.Stop()
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = lock.Check(short, rdb, lock.Config{})
	wantErr(t, err, context.DeadlineExceeded)
	s.Kill()
	_, err = lock.Check(bounded(t), rdb, lock.Config{})
	wantErr(t, err, lock.ErrUnavailable)
}

func TestCheckNoticesAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	must[lock.Results](t)(newLocker(t, s, lock.Config{Namespace: ns}).TryLock(bounded(t), lock.Claims("me", "r")...))
	wantNoFinding(t, checked(t, s.Client(t), lock.Config{Namespace: ns}), "fence-ahead")
	wantErr(t, s.Client(t).HSet(bounded(t), keysOf(ns, 0)[0], "fence", time.Now().Add(time.Hour).UnixMicro()).Err(), nil)
	wantFinding(t, checked(t, s.Client(t), lock.Config{Namespace: ns}), lock.SeverityWarning, "fence-ahead", "ahead of the server's clock")
}

func TestReportIsReadByPeopleAndPrograms(t *testing.T) {
	t.Parallel()
	r := lock.Report{Findings: []lock.Finding{
		{Severity: lock.SeverityProblem, Code: "right-missing", Node: "10.0.0.1:6379", Found: "the user may not run ZADD", Do: "give it"},
		{Severity: lock.SeverityInfo, Code: "version", Found: "Redis 7.0.15"},
	}}
	const text = `problem  right-missing: 10.0.0.1:6379: the user may not run ZADD
         → give it
info     version: Redis 7.0.15
problems: 1, warnings: 0, infos: 1
`
	if got := r.String(); got != text {
		t.Errorf("printed\n%s", got)
	}
	encoded := string(must[[]byte](t)(json.Marshal(r)))
	if !strings.Contains(encoded, `{"Severity":"problem","Code":"right-missing","Node":"10.0.0.1:6379",`) {
		t.Errorf("encoded %s", encoded)
	}
	var back lock.Report
	wantErr(t, json.Unmarshal([]byte(encoded), &back), nil)
	if len(back.Findings) != 2 || back.Findings[0] != r.Findings[0] || back.Worst() != lock.SeverityProblem || (lock.Report{}).Worst() != 0 {
		t.Errorf("decoded %+v", back)
	}
	wantErr(t, json.Unmarshal([]byte(`{"Findings":[{"Severity":"?"}]}`), &back), lock.ErrInvalid)
}
