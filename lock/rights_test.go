package lock_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A deprived is a Locker whose user is about to lose a right, and another's in
// the same namespace, which has all.
type deprived struct {
	t        testing.TB
	admin    *redis.Client
	ns       string
	l, other *lock.Locker
}

// An act prepares a call, which it returns.
type act struct {
	name    string
	prepare func(d *deprived) func(ctx context.Context) error
}

// simply is an act that needs no preparation.
func simply(name string, call func(ctx context.Context, l *lock.Locker) error) act {
	return act{name, func(d *deprived) func(context.Context) error {
		return func(ctx context.Context) error { return call(ctx, d.l) }
	}}
}

const whoWaits = "Hold of what is held"

var (
	many   = names("some longer name ", 60)
	anyRun = lock.JobID{Key: "job", Run: "run"}
)

func claimOf(id lock.JobID) lock.JobClaim {
	return lock.JobClaim{ID: id, Owner: "me", MaxAttempts: 3, Retention: time.Hour}
}

// lapsed leaves an expired lock behind.
func (d *deprived) lapsed(resource string) {
	d.t.Helper()
	must[lock.Results](d.t)(d.other.TryLock(bounded(d.t), lock.Claim{Resource: resource, Owner: "gone", TTL: lock.MinTTL}))
	eventually(d.t, "the end of the lease", func() bool {
		return must[lock.Results](d.t)(d.other.Owners(bounded(d.t), resource))[0].Owner == ""
	})
}

// locked has the Locker hold resources.
func (d *deprived) locked(ttl time.Duration, resources ...string) []lock.Claim {
	d.t.Helper()
	claims := lock.Claims("me", resources...)
	for i := range claims {
		claims[i].TTL = ttl
	}
	return must[lock.Results](d.t)(d.l.TryLock(bounded(d.t), claims...)).Claims()
}

// awaited has the other wait for a resource, or for a run.
func (d *deprived) awaited(n int64, wait func(ctx context.Context) error) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = wait(ctx) }()
	d.t.Cleanup(func() { cancel(); <-ended })
	awaitQueue(d.t, d.admin, d.ns, n)
}

func (d *deprived) heldFor(resource string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := d.other.Hold(ctx, lock.Claim{Resource: resource})
		return err
	}
}

func (d *deprived) runFor(id lock.JobID) func(ctx context.Context) error {
	return func(ctx context.Context) error { _, _, err := d.other.Jobs().Await(ctx, claimOf(id)); return err }
}

// attempted grants an attempt to the Locker.
func (d *deprived) attempted() lock.JobResult {
	d.t.Helper()
	return desk{d.t, d.l}.granted(claimOf(anyRun))
}

func settling(name string, end lock.End, waited bool) act {
	return act{name, func(d *deprived) func(context.Context) error {
		r := d.attempted()
		if waited {
			d.awaited(1, d.runFor(anyRun))
		}
		return func(ctx context.Context) error {
			_, err := d.l.Jobs().Settle(ctx, lock.Settlement{Grant: r.Grant, ID: anyRun, End: end, Retention: time.Hour})
			return err
		}
	}}
}

// acts are the ways through the scripts.
func acts() []act {
	tryLock := func(ttl time.Duration, resources ...string) func(context.Context, *lock.Locker) error {
		return func(ctx context.Context, l *lock.Locker) error {
			claims := lock.Claims("me", resources...)
			for i := range claims {
				claims[i].TTL = ttl
			}
			_, err := l.TryLock(ctx, claims...)
			return err
		}
	}
	unlock := func(d *deprived, claims []lock.Claim) func(context.Context) error {
		return func(ctx context.Context) error { _, err := d.l.Unlock(ctx, claims...); return err }
	}
	extend := func(d *deprived, claims []lock.Claim) func(context.Context) error {
		for i := range claims {
			claims[i].TTL = time.Hour
		}
		return func(ctx context.Context) error { _, err := d.l.Extend(ctx, claims...); return err }
	}
	claim := func(ctx context.Context, l *lock.Locker) error {
		_, err := l.Jobs().Claim(ctx, claimOf(anyRun))
		return err
	}
	return []act{
		simply("TryLock", tryLock(0, "r")),
		simply("TryLock of a group", tryLock(0, many...)),
		simply("TryLock of many, for long", tryLock(time.Hour, many...)),
		{"TryLock of what has lapsed", func(d *deprived) func(context.Context) error {
			d.lapsed("r")
			return func(ctx context.Context) error { return tryLock(0, "r")(ctx, d.l) }
		}},
		{"TryLock beside what has lapsed", func(d *deprived) func(context.Context) error {
			d.lapsed("r")
			return func(ctx context.Context) error { return tryLock(0, "s")(ctx, d.l) }
		}},
		simply("TryLockAll", func(ctx context.Context, l *lock.Locker) error {
			_, err := l.TryLockAll(ctx, lock.Claims("me", "r", "s")...)
			return err
		}),
		{"ForceLock", func(d *deprived) func(context.Context) error {
			must[lock.Results](d.t)(d.other.TryLock(bounded(d.t), lock.Claims("you", "r")...))
			return func(ctx context.Context) error { _, err := d.l.ForceLock(ctx, lock.Claims("me", "r")...); return err }
		}},
		{"Extend", func(d *deprived) func(context.Context) error { return extend(d, d.locked(0, "r")) }},
		{"Extend of a group", func(d *deprived) func(context.Context) error { return extend(d, d.locked(0, many...)) }},
		{"Extend by owner", func(d *deprived) func(context.Context) error {
			d.locked(0, "r")
			return extend(d, lock.Claims("me", "r"))
		}},
		{"Unlock", func(d *deprived) func(context.Context) error { return unlock(d, d.locked(0, "r")) }},
		{"Unlock of a group", func(d *deprived) func(context.Context) error { return unlock(d, d.locked(0, many...)) }},
		{"Unlock of many", func(d *deprived) func(context.Context) error { return unlock(d, d.locked(time.Hour, many...)) }},
		{"Unlock by owner", func(d *deprived) func(context.Context) error {
			d.locked(0, "r")
			return unlock(d, lock.Claims("me", "r"))
		}},
		{"Unlock beside one that is waited for", func(d *deprived) func(context.Context) error {
			claims := d.locked(0, "r", "s")
			d.awaited(1, d.heldFor("s"))
			return unlock(d, claims[:1])
		}},
		{"Unlock of what is waited for", func(d *deprived) func(context.Context) error {
			claims := d.locked(0, "r")
			d.awaited(1, d.heldFor("r"))
			return unlock(d, claims)
		}},
		{"Unlock of several that are waited for", func(d *deprived) func(context.Context) error {
			claims := d.locked(0, "r", "s")
			d.awaited(1, d.heldFor("r"))
			d.awaited(2, d.heldFor("s"))
			return unlock(d, claims)
		}},
		{"ForceUnlock", func(d *deprived) func(context.Context) error {
			d.locked(0, "r")
			return func(ctx context.Context) error { _, err := d.l.ForceUnlock(ctx, "r"); return err }
		}},
		simply("Owners", func(ctx context.Context, l *lock.Locker) error { _, err := l.Owners(ctx, "r"); return err }),
		simply("List", func(ctx context.Context, l *lock.Locker) error {
			for _, err := range l.List(ctx, lock.Query{}) {
				return err
			}
			return nil
		}),
		simply("Hold", func(ctx context.Context, l *lock.Locker) error {
			lease, err := l.Hold(ctx, lock.Claim{Resource: "r"})
			if err == nil {
				lease.Lapse()
			}
			return err
		}),
		{whoWaits, func(d *deprived) func(context.Context) error {
			must[lock.Results](d.t)(d.other.TryLock(bounded(d.t), lock.Claims("you", "r")...))
			return func(ctx context.Context) error {
				brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
				if _, err := d.l.Hold(brief, lock.Claim{Resource: "r"}); !isDeadline(err) {
					return err
				}
				return nil
			}
		}},
		simply("Claim", claim),
		simply("TryAwaitSome", func(ctx context.Context, l *lock.Locker) error {
			_, _, err := l.Jobs().TryAwaitSome(ctx, 1, claimOf(anyRun))
			return err
		}),
		{"TryAwaitSome beside what has lapsed", func(d *deprived) func(context.Context) error {
			d.lapsed("r")
			return func(ctx context.Context) error {
				var claims []lock.JobClaim
				for _, key := range names("job ", 4) { // so that it looks
					claims = append(claims, claimOf(lock.JobID{Key: key}))
				}
				_, _, err := d.l.Jobs().TryAwaitSome(ctx, 4, claims...)
				return err
			}
		}},
		{"Claim of a second attempt", func(d *deprived) func(context.Context) error {
			desk{d.t, d.l}.settle(d.attempted(), lock.Settlement{End: lock.Failed, Retention: time.Hour})
			return func(ctx context.Context) error { return claim(ctx, d.l) }
		}},
		{"Claim behind the last attempt", func(d *deprived) func(context.Context) error {
			c := claimOf(anyRun)
			c.TTL, c.MaxAttempts = lock.MinTTL, 1
			desk{d.t, d.other}.granted(c)
			eventually(d.t, "the end of the attempt", func() bool { return desk{d.t, d.other}.get(anyRun).TTL == 0 })
			return func(ctx context.Context) error {
				_, err := d.l.Jobs().Claim(ctx, c)
				if errors.Is(err, lock.ErrJobExhausted) {
					return nil
				}
				return err
			}
		}},
		{"Claim beside what is forgotten", func(d *deprived) func(context.Context) error {
			desk := desk{d.t, d.other}
			c := claimOf(lock.JobID{})
			c.TTL = 50 * time.Millisecond
			eventually(d.t, "a settlement within so short a lease", func() bool {
				c.ID.Key += "old"
				r := desk.granted(c)
				_, err := d.other.Jobs().Settle(bounded(d.t), lock.Settlement{Grant: r.Grant, ID: c.ID, End: lock.Done, Retention: lock.MinTTL})
				return err == nil
			})
			eventually(d.t, "the end of the retention", func() bool { return desk.get(c.ID).State == lock.JobAbsent })
			return func(ctx context.Context) error { return claim(ctx, d.l) }
		}},
		settling("Settle, done", lock.Done, false),
		settling("Settle, done, before others", lock.Done, true),
		settling("Settle, failed, before others", lock.Failed, true),
		settling("Settle, returned", lock.Returned, false),
		simply("Get", func(ctx context.Context, l *lock.Locker) error { _, err := l.Jobs().Get(ctx, anyRun); return err }),
		{"Jobs.List", func(d *deprived) func(context.Context) error {
			d.attempted()
			return func(ctx context.Context) error {
				for _, err := range d.l.Jobs().List(ctx, lock.JobQuery{}) {
					return err
				}
				return nil
			}
		}},
		{"Reset", func(d *deprived) func(context.Context) error {
			desk{d.t, d.l}.settle(d.attempted(), lock.Settlement{End: lock.Failed, Retention: time.Hour})
			return func(ctx context.Context) error { return d.l.Jobs().Reset(ctx, anyRun) }
		}},
		{"Watch", func(d *deprived) func(context.Context) error {
			d.lapsed("r")
			return func(ctx context.Context) error { _, err := d.l.Watch(ctx); return err }
		}},
	}
}

// standing is what stands under all keys of a namespace of one shard, its global
// record and the counters included.
func standing(t testing.TB, rdb redis.UniversalClient, namespace string) map[string]string {
	t.Helper()
	keys := keysOf(namespace, 0)
	m := map[string]string{}
	for _, key := range append(keys[:], "{"+namespace+"}:shards") {
		m[key] = contents(t, rdb, key)
	}
	return m
}

// TestEachMissingRightIsToldAndNothingIsWritten takes each right away from a user,
// in a namespace that is in use and in a new one, before each call. The first call
// that misses it names it, and leaves every key and counter as it was.
func TestEachMissingRightIsToldAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	redistest.Start(t, redistest.Own) // or skip
	for _, right := range strings.Fields(lock.ACLOf("%s", false)) {
		command, isCommand := strings.CutPrefix(right, "+")
		if command == "hello" || command == "ping" { // always allowed; for idle connections
			continue
		}
		takes := map[string]string{right: "-" + command}
		if !isCommand {
			takes = map[string]string{ // what is taken, by what the error must name
				"~{%s:*":       "resetkeys ~{%s}:shards",
				"~{%s}:shards": "resetkeys ~{%s:*",
				"&%s:*":        "resetchannels",
			}
			if !strings.HasPrefix(right, "&") {
				takes = map[string]string{right: takes[right]}
			} else {
				takes = map[string]string{right: "resetchannels", right + " ": "resetchannels &%s:wake:*"}
			}
		}
		for named, take := range takes {
			t.Run(take, func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t, redistest.Own)
				missed := 0
				for i, a := range acts() {
					for _, publish := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s/publish=%v", a.name, publish), func(t *testing.T) {
							if wantNothingWritten(t, s, fmt.Sprintf("user%d%v", i, publish), a, publish, take, strings.TrimSpace(named)) {
								missed++
							} else if a.name == whoWaits && (take == "-subscribe" || take == "resetchannels") {
								t.Error("one waits who cannot be woken")
							}
						})
					}
				}
				if take != "-unsubscribe" && missed == 0 { // which is asked for when a watcher leaves
					t.Error("no call misses it")
				}
			})
		}
	}
}

// wantNothingWritten returns whether the call misses the right.
func wantNothingWritten(t *testing.T, s *redistest.Server, user string, a act, publish bool, take, named string) bool {
	ctx := bounded(t)
	ns := s.Namespace(t)
	take, named = strings.ReplaceAll(take, "%s", ns), strings.ReplaceAll(named, "%s", ns)
	admin := s.Client(t)
	set := func(line string) {
		t.Helper()
		wantErr(t, admin.ACLSetUser(ctx, user, strings.Fields(line)...).Err(), nil)
	}
	set(strings.TrimPrefix(account(user, lock.ACLOf(ns, false)), user))
	o := s.Options()
	o.Username, o.Password = user, password
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })

	missed := false
	d := &deprived{t: t, admin: admin, ns: ns, other: newLocker(t, s, lock.Config{Namespace: ns})}
	try := func(when string) {
		t.Helper()
		d.l = newLockerOn(t, rdb, lock.Config{Namespace: ns, Publish: publish})
		if when == "in use" {
			for _, l := range []*lock.Locker{d.l, d.other} {
				must[lock.Results](t)(l.Owners(ctx, "warm up"))
			}
		}
		call := a.prepare(d)
		set(take)
		if take == "-eval" {
			wantErr(t, admin.ScriptFlush(ctx).Err(), nil)
		}
		before := standing(t, admin, ns)
		err := call(ctx)
		if err == nil {
			return
		}
		missed = true
		wantErr(t, d.l.Close(), nil) // which waits for what it does behind its callers' backs
		after := standing(t, admin, ns)
		wantDenied(t, err)
		if !strings.Contains(err.Error(), "'"+strings.TrimPrefix(named, "+")+"' command") && !strings.Contains(err.Error(), "(the user lacks "+named+")") {
			t.Errorf("%s: the error does not name the right: %v", when, err)
		}
		for _, key := range slices.Sorted(maps.Keys(before)) {
			if before[key] != after[key] {
				t.Errorf("%s: written to %s: before %q, after %q, with %v", when, key, before[key], after[key], err)
			}
		}
	}

	try("in use")
	if strings.HasPrefix(a.name, "TryLock") && !strings.Contains(a.name, "lapsed") { // in a namespace that is new
		set(strings.TrimPrefix(account(user, lock.ACLOf(ns, false)), user))
		for key := range standing(t, admin, ns) {
			wantErr(t, admin.Del(ctx, key).Err(), nil)
		}
		try("new")
	}
	return missed
}
