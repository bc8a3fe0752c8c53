package lock_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// wellFormed is what may stand under a lock, told apart from the code that reads it.
var wellFormed = regexp.MustCompile(`(?s)^(L[0-9]{14}[0-8][0-9]{18}[0-9A-Za-z_-]{11}[0-9]{14}.+|O[0-9]{14}f.*[0-9]{16}[0-9A-Za-z_-]{11})$`)

// foreign are values that are not ours, under a lock or as a record.
var foreign = []string{
	"", "x", "OK", "1", "\x00", "\xff\xff", "L", "O", "J", "{}", strings.Repeat("9", 100), strings.Repeat("L", 5000),
	"L" + strings.Repeat("9", 58),                                                       // no owner
	"L9999999999999" + strings.Repeat("9", 60),                                          // a fence beyond 63 bits
	"L99999999999999" + "9999999999999999999" + "AAAAAAAAAAA" + "99999999999999" + "me", // the same
	"L99999999999999" + "0000000000000000001" + "AAAA AAAAAA" + "99999999999999" + "me", // nonce
	"L-9999999999999" + "0000000000000000001" + "AAAAAAAAAAA" + "99999999999999" + "me", // sign
	"L99999999999999" + "000000000000000000x" + "AAAAAAAAAAA" + "99999999999999" + "me",
	"L99999999999999" + "0000000000000000001" + "AAAAAAAAAAA" + "9999999999999e" + "me",
	"l99999999999999" + "0000000000000000001" + "AAAAAAAAAAA" + "99999999999999" + "me",
	"O99999999999999", "O99999999999999f", "O99999999999999" + strings.Repeat("x", 40), "O00000000000000f0001rp00000",
	"Jr00000000000000", "Jr00000000000000 1 1 0 0 ", "Jz00000000000000 1 1 00000000000000 00000000000000 ",
	"Jr00000000000000 99999999999999999999 1 00000000000000 00000000000000 ",
	"Jr00000000000000 1 1 00000000000000 00000000000000 garbage",
	"Jr00000000000000 1 1 00000000000000 00000000000000 1 0000000000000000001 AAAAAAAAAAA 0 0 - 2 9999 me",
	"Jr00000000000000 1 1 00000000000000 00000000000000 1 0000000000000000001 AAAAAAAAAAA 0 0 - 99999999999999999999 0 me",
	"Jr00000000000000 1 1 00000000000000 00000000000000 1 0000000000000000001 AAAAAAAAAAA 0 0 - 2 0 megarbage",
	"Jr00000000000000 1 1 00000000000000 00000000000000 1 9999999999999999999 AAAAAAAAAAA 0 0 - 2 0 me",
}

// contents reads a key whatever its type is.
func contents(t testing.TB, rdb redis.UniversalClient, key string) string {
	t.Helper()
	ctx := bounded(t)
	switch kind := must[string](t)(rdb.Type(ctx, key).Result()); kind {
	case "hash":
		return fmt.Sprint(must[map[string]string](t)(rdb.HGetAll(ctx, key).Result()))
	case "zset":
		return fmt.Sprint(must[[]redis.Z](t)(rdb.ZRangeWithScores(ctx, key, 0, -1).Result()))
	case "string":
		return must[string](t)(rdb.Get(ctx, key).Result())
	default:
		return kind
	}
}

func TestForeignValueUnderALockIsLeftUntouched(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Shards: 1})
		rdb := w.rdb(t)
		locks := keysOf(w.ns, 0)[1]
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
		for i, value := range foreign {
			if wellFormed.MatchString(value) {
				t.Fatalf("%q is well-formed", value)
			}
			bad, good := fmt.Sprint("bad", i), fmt.Sprint("good", i)
			wantErr(t, rdb.HSet(ctx, locks, bad, value).Err(), nil)
			others := func(name string, rs lock.Results, err error) {
				t.Helper()
				wantErr(t, err, lock.ErrCorruptState)
				if len(rs) != 2 || !errors.Is(rs[0].Err, lock.ErrCorruptState) || rs[1].Err != nil || rs[0].Owner != "" || rs[0].Fence != 0 {
					t.Errorf("%s with %q: %+v", name, value, rs)
				}
			}
			claims := lock.Claims("me", bad, good)
			rs, err := l.TryLockAll(ctx, claims...)
			wantErr(t, err, lock.ErrCorruptState)
			if !errors.Is(rs[1].Err, lock.ErrAborted) {
				t.Errorf("TryLockAll with %q: %+v", value, rs)
			}
			for _, step := range []struct {
				name string
				call func(context.Context, ...lock.Claim) (lock.Results, error)
			}{{"TryLock", l.TryLock}, {"Extend", l.Extend}, {"Unlock", l.Unlock}, {"ForceLock", l.ForceLock}} {
				rs, err := step.call(ctx, claims...)
				others(step.name, rs, err)
			}
			rs, err = l.Owners(ctx, bad, good)
			others("Owners", rs, err)
			rs, err = l.ForceUnlock(ctx, bad, good)
			others("ForceUnlock", rs, err)
			_, err = l.Hold(ctx, lock.Claim{Resource: bad})
			wantErr(t, err, lock.ErrCorruptState)
			_, err = l.TryHold(ctx, lock.Claim{Resource: bad})
			wantErr(t, err, lock.ErrCorruptState)
			_, err = l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: bad}, MaxAttempts: 1})
			wantErr(t, err, lock.ErrCorruptState)
			_, _, err = l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: bad}, MaxAttempts: 1})
			wantErr(t, err, lock.ErrCorruptState)
			if got := must[string](t)(rdb.HGet(ctx, locks, bad).Result()); got != value {
				t.Errorf("%q has become %q", value, got)
			}
		}
		corrupt, fine := 0, 0
		for r, err := range l.List(ctx, lock.Query{}) {
			if errors.Is(err, lock.ErrCorruptState) && strings.HasPrefix(r.Resource, "bad") {
				corrupt++
			} else if err == nil {
				fine++
			}
		}
		if corrupt != len(foreign) || fine != 1 {
			t.Errorf("listed %d corrupt and %d fine", corrupt, fine)
		}
		if n := queued(t, rdb, w.ns); n != 0 {
			t.Errorf("%d members are left in the queue", n)
		}
	})
}

func TestForeignRecordIsLeftUntouched(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Shards: 1})
		rdb := w.rdb(t)
		jobs := keysOf(w.ns, 0)[4]
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
		for i, value := range foreign {
			bad, good := lock.JobID{Key: fmt.Sprint("bad", i)}, lock.JobID{Key: fmt.Sprint("good", i)}
			place := fmt.Sprintf("%04x%sj0000", len(bad.Key), bad.Key)
			wantErr(t, rdb.HSet(ctx, jobs, place, value).Err(), nil)
			rs, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: bad, MaxAttempts: 9}, lock.JobClaim{ID: good, MaxAttempts: 9})
			wantErr(t, err, lock.ErrCorruptState)
			if !errors.Is(rs[0].Grant.Err, lock.ErrCorruptState) || rs[1].Grant.Err != nil {
				t.Errorf("Claim with %q: %+v", value, rs)
			}
			_, some, err := l.Jobs().TryAwaitSome(ctx, 1, lock.JobClaim{ID: bad, MaxAttempts: 9})
			if wantErr(t, err, lock.ErrCorruptState); !errors.Is(some[0].Grant.Err, lock.ErrCorruptState) {
				t.Errorf("TryAwaitSome with %q: %+v", value, some)
			}
			_, _, err = l.Jobs().Await(ctx, lock.JobClaim{ID: bad, MaxAttempts: 1})
			wantErr(t, err, lock.ErrCorruptState)
			settled, err := l.Jobs().Settle(ctx, lock.Settlement{ID: bad, Grant: lock.Result{Fence: 1}, End: lock.Done},
				lock.Settlement{ID: good, Grant: rs[1].Grant, End: lock.Done})
			wantErr(t, err, lock.ErrCorruptState)
			if settled[1].Err != nil {
				t.Errorf("Settle with %q: %+v", value, settled)
			}
			infos, err := l.Jobs().Get(ctx, bad, good)
			wantErr(t, err, lock.ErrCorruptState)
			if infos[1].State != lock.JobDone {
				t.Errorf("Get with %q: %+v", value, infos)
			}
			wantErr(t, l.Jobs().Reset(ctx, bad), lock.ErrCorruptState)
			if got := must[string](t)(rdb.HGet(ctx, jobs, place).Result()); got != value {
				t.Errorf("%q has become %q", value, got)
			}
			// The plain lock of that name is another matter.
			must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", bad.Key)...))
		}
		wantErr(t, rdb.HSet(ctx, jobs, "no place", "x").Err(), nil)
		corrupt, fine := 0, 0
		for _, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
			if errors.Is(err, lock.ErrCorruptState) {
				corrupt++
			} else if err == nil {
				fine++
			}
		}
		if corrupt != len(foreign)+1 || fine != len(foreign) {
			t.Errorf("listed %d corrupt and %d fine", corrupt, fine)
		}
	})
}

func TestKeyOfAnotherTypeIsLeftUntouched(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	rdb := s.Client(t)
	for k, name := range []string{"meta", "locks", "expiry", "queue", "jobs", "retention"} {
		t.Run(name, func(t *testing.T) {
			ns := s.Namespace(t)
			keys := keysOf(ns, 0)
			l := newLocker(t, s, lock.Config{Namespace: ns})
			held := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "held")...))
			d := desk{t, l}
			job := d.granted(lock.JobClaim{ID: lock.JobID{Key: "job"}, MaxAttempts: 3})
			wantErr(t, rdb.Del(ctx, keys[k]).Err(), nil)
			wantErr(t, rdb.Set(ctx, keys[k], "foreign", 0).Err(), nil)
			all := func() map[string]string {
				m := make(map[string]string)
				for _, key := range keys {
					m[key] = contents(t, rdb, key)
				}
				return m
			}
			plainFine := name == "jobs" || name == "retention"
			for _, call := range []struct {
				name string
				fine bool // must get along without that key
				call func() error
			}{
				{"TryLock", plainFine, func() error { _, err := l.TryLock(ctx, lock.Claims("me", "free")...); return err }},
				{"ForceLock", plainFine, func() error { _, err := l.ForceLock(ctx, lock.Claims("me", "forced")...); return err }},
				{"Extend", plainFine, func() error { _, err := l.Extend(ctx, held.Claims()...); return err }},
				{"Owners", plainFine || name == "expiry", func() error { _, err := l.Owners(ctx, "nobody's"); return err }},
				{"Unlock", plainFine, func() error { _, err := l.Unlock(ctx, held.Claims()...); return err }},
				{"Claim", false, func() error {
					_, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: lock.JobID{Key: "new"}, MaxAttempts: 1})
					return err
				}},
				{"Settle", false, func() error {
					_, err := l.Jobs().Settle(ctx, lock.Settlement{ID: job.Job.ID, Grant: job.Grant, End: lock.Done})
					return err
				}},
				{"Get", name == "expiry" || name == "retention", func() error { _, err := l.Jobs().Get(ctx, lock.JobID{Key: "x"}); return err }},
				{"Reset", false, func() error { return l.Jobs().Reset(ctx, lock.JobID{Key: "x"}) }},
				{"Hold", false, func() error { // its script serves jobs too
					le, err := l.Hold(ctx, lock.Claim{Resource: "hold"})
					if err == nil {
						return le.Release(ctx)
					}
					return err
				}},
			} {
				before := all()
				err := call.call()
				if call.fine {
					wantErr(t, err, nil)
				}
				if err == nil && name != "meta" && name != "locks" { // it got along without that key
					continue
				}
				if !errors.Is(err, lock.ErrCorruptState) {
					t.Errorf("%s: %v, want %v", call.name, err, lock.ErrCorruptState)
				}
				if after := all(); !maps.Equal(before, after) {
					t.Errorf("%s has changed\n%v\nto\n%v", call.name, before, after)
				}
			}
			if got := contents(t, rdb, keys[k]); got != "foreign" {
				t.Errorf("has become %q", got)
			}
		})
	}
}

func TestForeignFieldsOfTheShardItself(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		rdb := w.rdb(t)
		for i, c := range []struct {
			field, value string
			want         error
		}{
			{"fence", "x", lock.ErrCorruptState},
			{"fence", "", lock.ErrCorruptState},
			{"fence", "-1", lock.ErrCorruptState},
			{"fence", "1e3", lock.ErrCorruptState},
			{"fence", "9007199254740992", lock.ErrCorruptState}, // does not grow by one any more
			{"fence", strings.Repeat("9", 400), lock.ErrCorruptState},
			{"fence", "0", nil},
			{"event", "x", lock.ErrCorruptState},
			{"event", strings.Repeat("9", 30), lock.ErrCorruptState},
			{"shards", "x", lock.ErrShardMismatch},
			{"shards", "", lock.ErrShardMismatch},
			{"shards", "01", lock.ErrShardMismatch},
			{"other", "x", nil},
		} {
			ns := fmt.Sprint(w.ns, "-", i)
			l := w.locker(t, lock.Config{Namespace: ns, Shards: 1})
			must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
			meta := keysOf(ns, 0)[0]
			wantErr(t, rdb.HSet(ctx, meta, c.field, c.value).Err(), nil)
			before := contents(t, rdb, keysOf(ns, 0)[1])
			_, err := l.ForceLock(ctx, lock.Claims("me", "r")...)
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Errorf("%s %q: %v, want %v", c.field, c.value, err, c.want)
			}
			if got := must[string](t)(rdb.HGet(ctx, meta, c.field).Result()); c.want != nil && got != c.value {
				t.Errorf("%s %q has become %q", c.field, c.value, got)
			}
			if c.want != nil && contents(t, rdb, keysOf(ns, 0)[1]) != before {
				t.Errorf("%s %q: granted all the same", c.field, c.value)
			}
		}
	})
}

func TestForeignRecordOfTheNamespace(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		rdb := w.rdb(t)
		key := "{" + w.ns + "}:shards"
		l := w.locker(t, lock.Config{})
		wantErr(t, rdb.Set(ctx, key, "many", 0).Err(), nil)
		_, err := l.TryLock(ctx, lock.Claims("me", "r")...)
		wantErr(t, err, lock.ErrShardMismatch)
		wantErr(t, rdb.Del(ctx, key).Err(), nil)
		wantErr(t, rdb.LPush(ctx, key, "x").Err(), nil)
		_, err = l.TryLock(ctx, lock.Claims("me", "r")...)
		wantErr(t, err, lock.ErrCorruptState)
	})
}

// The sorted sets are hints: foreign members neither grant nor bar.
func TestForeignMembersOfTheIndexesBarNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		rdb := w.rdb(t)
		l := w.locker(t, lock.Config{Shards: 1})
		keys := keysOf(w.ns, 0)
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
		for _, member := range append([]string{"f", "r", "f0001rp0000", "f0001rp00000000000000000000", "fffff", "f0001r", "\xff"}, foreign...) {
			for _, key := range []string{keys[2], keys[3], keys[5]} {
				wantErr(t, rdb.ZAdd(ctx, key, redis.Z{Score: 0, Member: member}).Err(), nil)
			}
		}
		must[lock.Results](t)(l.Unlock(ctx, lock.Claims("me", "r")...))
		eventually(t, "r cannot be locked again", func() bool {
			_, err := l.TryLock(ctx, lock.Claims("me", "r")...)
			return err == nil
		})
		must[lock.Results](t)(l.Extend(ctx, lock.Claims("me", "r")...))
		must[lock.Results](t)(l.ForceUnlock(ctx, "r"))
		wantErr(t, l.Do(ctx, lock.Claim{Resource: "r"}, func(context.Context, *lock.Lease) error { return nil }), nil)
		le, _, err := l.Jobs().Await(ctx, lock.JobClaim{ID: lock.JobID{Key: "r"}, MaxAttempts: 1})
		wantErr(t, err, nil)
		wantErr(t, le.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
	})
}

// An entry of ours with numbers that no clock of today writes is still ours.
func TestEntriesWithHugeNumbersAreHeld(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{Shards: 1})
		must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
		entry := "L99999999999998" + "8999999999999999999" + "AAAAAAAAAAA" + "99999999999998" + "him"
		wantErr(t, w.rdb(t).HSet(ctx, keysOf(w.ns, 0)[1], "r", entry).Err(), nil)
		found := must[lock.Results](t)(l.Owners(ctx, "r"))
		refused, err := l.TryLock(ctx, lock.Claims("me", "r")...)
		wantErr(t, err, lock.ErrHeld)
		for _, r := range []lock.Result{found[0], refused[0]} {
			if r.Owner != "him" || r.Fence != 8999999999999999999 || r.TTL < 200*365*24*time.Hour || r.TTL == lock.NoExpiry {
				t.Errorf("told %+v", r)
			}
		}
		must[lock.Results](t)(l.Extend(ctx, lock.Claim{Resource: "r", Owner: "him", Fence: 8999999999999999999}))
		must[lock.Results](t)(l.Unlock(ctx, lock.Claims("him", "r")...))
	})
}
