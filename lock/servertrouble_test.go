package lock_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A trouble is a state in which a server refuses what would be written.
type trouble struct {
	cause   string // what Redis calls it
	want    error  // nil: none that says that it will pass
	options []redistest.Option
	begin   func(t *testing.T, s *redistest.Server, admin *redis.Client, keys [6]string) (end func())
}

// setting is a trouble that a setting makes.
func setting(cause string, want error, name, value, calm string) trouble {
	return trouble{cause, want, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
		wantErr(t, admin.ConfigSet(bounded(t), name, value).Err(), nil)
		return func() { wantErr(t, admin.ConfigSet(bounded(t), name, calm).Err(), nil) }
	}}
}

// replicating is the trouble of a server that is to follow a primary which is not there.
func replicating(cause, serve string) trouble {
	return trouble{cause, lock.ErrUnavailable, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
		ctx := bounded(t)
		wantErr(t, admin.ConfigSet(ctx, "replica-serve-stale-data", serve).Err(), nil)
		wantErr(t, admin.ReplicaOf(ctx, "127.0.0.1", "1").Err(), nil)
		return func() { wantErr(t, admin.ReplicaOf(bounded(t), "no", "one").Err(), nil) }
	}}
}

var troubles = map[string]trouble{
	"no memory":             setting("OOM", lock.ErrUnavailable, "maxmemory", "1", "0"),
	"no replicas":           setting("NOREPLICAS", lock.ErrUnavailable, "min-replicas-to-write", "1", "0"),
	"a replica":             replicating("READONLY", "yes"),
	"a replica without one": replicating("MASTERDOWN", "no"),
	"snapshots fail": {"MISCONF", lock.ErrUnavailable, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
		ctx := bounded(t)
		dir := must[map[string]string](t)(admin.ConfigGet(ctx, "dir").Result())["dir"]
		if _, err := os.Stat(dir); err != nil || os.Getenv("REDISTEST") == "docker" {
			t.Skip("needs a server whose folder is on this machine")
		}
		wantErr(t, os.MkdirAll(filepath.Join(dir, "dump.rdb", "x"), 0o700), nil)
		wantErr(t, admin.ConfigSet(ctx, "save", "3600 1").Err(), nil)
		wantErr(t, admin.BgSave(ctx).Err(), nil)
		eventually(t, "a snapshot that fails", func() bool {
			return strings.Contains(admin.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err")
		})
		return func() { wantErr(t, admin.ConfigSet(bounded(t), "save", "").Err(), nil) }
	}},
	"a password is wanted": {"NOAUTH", nil, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
		conn := admin.Conn() // a connection that is let in already
		t.Cleanup(func() { _ = conn.Close() })
		ctx := bounded(t)
		wantErr(t, conn.ConfigSet(ctx, "requirepass", password).Err(), nil)
		wantErr(t, conn.ClientKillByFilter(ctx, "TYPE", "normal", "SKIPME", "yes").Err(), nil)
		return func() { wantErr(t, conn.ConfigSet(bounded(t), "requirepass", "").Err(), nil) }
	}},
	"a right is missing": {"+hset", nil, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
		wantErr(t, admin.ACLSetUser(bounded(t), "default", "-hset").Err(), nil)
		return func() { wantErr(t, admin.ACLSetUser(bounded(t), "default", "+hset").Err(), nil) }
	}},
	"a key of another type": {"WRONGTYPE", lock.ErrCorruptState, nil, func(t *testing.T, _ *redistest.Server, admin *redis.Client, keys [6]string) func() {
		ctx := bounded(t)
		wantErr(t, admin.Rename(ctx, keys[locksAt], keys[locksAt]+":aside").Err(), nil)
		wantErr(t, admin.LPush(ctx, keys[locksAt], "x").Err(), nil)
		return func() { wantErr(t, admin.Rename(bounded(t), keys[locksAt]+":aside", keys[locksAt]).Err(), nil) }
	}},
	"a script that runs for ever": {"BUSY", lock.ErrUnavailable, nil, func(t *testing.T, s *redistest.Server, admin *redis.Client, _ [6]string) func() {
		ctx := bounded(t)
		wantErr(t, admin.ConfigSet(ctx, "lua-time-limit", "10").Err(), nil)
		o := s.Options()
		o.ReadTimeout = -1
		endless := redis.NewClient(o)
		t.Cleanup(func() { _ = endless.Close() })
		ended := make(chan error, 1)
		go func() { ended <- endless.Eval(ctx, "while true do end", nil).Err() }()
		eventually(t, "a busy server", func() bool {
			err := admin.Ping(ctx).Err()
			return err != nil && strings.HasPrefix(err.Error(), "BUSY")
		})
		return func() {
			wantErr(t, admin.ScriptKill(bounded(t)).Err(), nil)
			_ = receive(t, "the end of the script", ended)
		}
	}},
	"a server that loads": {"LOADING", lock.ErrUnavailable, []redistest.Option{redistest.Config("enable-debug-command", "local")}, loading},
	"a Cluster without that slot": {"CLUSTERDOWN", lock.ErrUnavailable, []redistest.Option{redistest.Config("cluster-enabled", "yes")},
		func(t *testing.T, _ *redistest.Server, admin *redis.Client, _ [6]string) func() {
			wantErr(t, admin.ClusterDelSlotsRange(bounded(t), 0, 16383).Err(), nil)
			return func() { complete(t, admin) }
		}},
}

// loading has the server read its data again, slowly.
func loading(t *testing.T, s *redistest.Server, admin *redis.Client, _ [6]string) func() {
	ctx := bounded(t)
	for name, value := range map[string]string{"key-load-delay": "3000", "loading-process-events-interval-bytes": "1024"} {
		wantErr(t, admin.ConfigSet(ctx, name, value).Err(), nil)
	}
	fill := must[[]redis.Cmder](t)(admin.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range names("fill", 2000) {
			pipe.Set(ctx, name, strings.Repeat(name, 1024), 0)
		}
		return nil
	}))
	if len(fill) != 2000 {
		t.Fatalf("%d keys", len(fill))
	}
	o := s.Options()
	o.ReadTimeout = -1
	patient := redis.NewClient(o)
	t.Cleanup(func() { _ = patient.Close() })
	ended := make(chan error, 1)
	go func() { ended <- patient.Do(ctx, "debug", "reload").Err() }()
	is := func(ctx context.Context) bool {
		err := admin.Get(ctx, "x").Err()
		return err != nil && strings.HasPrefix(err.Error(), "LOADING")
	}
	eventually(t, "a server that loads", func() bool { return is(ctx) })
	return func() {
		if !is(bounded(t)) {
			t.Error("the server had loaded all before the calls ended")
		}
		wantErr(t, admin.ConfigSet(bounded(t), "key-load-delay", "0").Err(), nil)
		wantErr(t, receive(t, "the end of the loading", ended), nil)
	}
}

// complete gives a lone node of a Cluster all slots.
func complete(t *testing.T, node *redis.Client) {
	t.Helper()
	wantErr(t, node.ClusterAddSlotsRange(bounded(t), 0, 16383).Err(), nil)
	eventually(t, "a complete Cluster", func() bool {
		return strings.Contains(node.ClusterInfo(bounded(t)).Val(), "cluster_state:ok")
	})
}

// TestServerTroubleIsToldAndLeavesNothingBehind: each error says what Redis said,
// and whether it will pass; nothing is written; and when the trouble is over, the
// same calls succeed.
func TestServerTroubleIsToldAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, tr := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Own, tr.options...)
			admin := s.Client(t)
			if tr.cause == "CLUSTERDOWN" {
				complete(t, admin)
			}
			ns := s.Namespace(t)
			cfg := lock.Config{Namespace: ns, Shards: 1}
			locker := func() *lock.Locker { // of the default user, who is in trouble
				l := must[*lock.Locker](t)(lock.New(s.Client(t), cfg))
				t.Cleanup(func() { _ = l.Close() })
				return l
			}
			l := locker()
			ctx := bounded(t)
			held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "mine")...)).Claims()
			done := desk{t, l}.granted(claimOf(lock.JobID{Key: "done"}))
			must[lock.Results](t)(locker().TryLock(ctx, lock.Claims("you", "yours")...))
			calls := []each{
				{"TryLock", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.TryLock(ctx, lock.Claims("me", "free")...)
					return err
				}},
				{"TryLockAll", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.TryLockAll(ctx, lock.Claims("me", "all", "both")...)
					return err
				}},
				{"ForceLock", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.ForceLock(ctx, lock.Claims("me", "yours")...)
					return err
				}},
				{"Extend", func(ctx context.Context, l *lock.Locker) error { _, err := l.Extend(ctx, held...); return err }},
				{"Claim", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.Jobs().Claim(ctx, claimOf(anyRun))
					return err
				}},
				{"Settle", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: done.Grant, ID: done.Job.ID, End: lock.Done, Retention: time.Hour})
					return err
				}},
				{"Hold", func(ctx context.Context, l *lock.Locker) error {
					_, err := l.TryHold(ctx, lock.Claim{Resource: "held"})
					return err
				}},
			}
			before := standing(t, admin, ns)
			end := tr.begin(t, s, admin, keysOf(ns, 0))
			brief := within(t, time.Second)
			var all sync.WaitGroup
			for _, c := range calls {
				all.Go(func() {
					err := c.call(brief, l)
					if err == nil || !strings.Contains(err.Error(), tr.cause) || tr.want != nil && !errors.Is(err, tr.want) {
						t.Errorf("%s: %v, want %s, %v", c.name, err, tr.cause, tr.want)
					}
					if tr.want == nil && errors.Is(err, lock.ErrUnavailable) {
						t.Errorf("%s: what will not pass is called temporary: %v", c.name, err)
					}
				})
			}
			all.Wait()
			wantErr(t, l.Close(), nil)
			end()
			if after := standing(t, admin, ns); !maps.Equal(before, after) {
				t.Errorf("written: before %q, after %q", before, after)
			}
			l = locker()
			for _, c := range calls {
				if err := c.call(ctx, l); err != nil {
					t.Errorf("%s, when the trouble is over: %v", c.name, err)
				}
			}
		})
	}
}
