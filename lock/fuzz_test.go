package lock_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// FuzzNames takes any names through a lock and a job: what goes in comes out,
// and another name is another thing.
func FuzzNames(f *testing.F) {
	for i, name := range odd {
		f.Add(name, odd[(i+1)%len(odd)], odd[(i+2)%len(odd)])
	}
	f.Add("a", "b", "")
	f.Add("ab", "c", "d")
	s := redistest.Start(f, redistest.Any)
	l := newLocker(f, s, lock.Config{})
	f.Fuzz(func(t *testing.T, resource, owner, run string) {
		ctx := bounded(t)
		valid := func(s string) bool { return s != "" && len(s) <= lock.MaxName }
		rs, err := l.TryLock(ctx, lock.Claim{Resource: resource, Owner: owner})
		if !valid(resource) || !valid(owner) {
			wantErr(t, err, lock.ErrInvalid)
			return
		}
		wantErr(t, err, nil)
		// Neighbours that a careless encoding would mix up with it.
		others := []string{resource + "\x00", resource + "x", "x" + resource, strings.ToUpper(resource) + "~"}
		for i := range others {
			others[i] = others[i][max(0, len(others[i])-lock.MaxName):]
		}
		for i, r := range must[lock.Results](t)(l.Owners(ctx, resource)) {
			if r.Resource != resource || r.Owner != owner || r.Fence != rs[i].Fence {
				t.Fatalf("found %+v, granted %+v", r, rs[i])
			}
		}
		for _, other := range others {
			if other == resource {
				continue
			}
			if r := must[lock.Results](t)(l.Owners(ctx, other)); r[0].Owner != "" {
				t.Fatalf("%q is held by %q, which was %q", other, r[0].Owner, resource)
			}
			_, err := l.Unlock(ctx, lock.Claim{Resource: resource, Owner: other})
			if other != owner {
				wantErr(t, err, lock.ErrHeld)
			} else {
				wantErr(t, err, nil)
				rs = must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: resource, Owner: owner}))
			}
		}
		if got := listed(t, l, lock.Query{}); len(got) != 1 || got[resource].Owner != owner {
			t.Fatalf("listed %v", got)
		}
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))

		if len(run) > lock.MaxName {
			return
		}
		d := desk{t, l}
		c := lock.JobClaim{ID: lock.JobID{Key: resource, Run: run}, Owner: owner, MaxAttempts: 2}
		other := lock.JobID{Key: resource, Run: (run + "x")[max(0, len(run)+1-lock.MaxName):]}
		r := d.granted(c)
		d.settle(r, lock.Settlement{End: lock.Failed, Cause: run})
		info := d.get(c.ID)
		if info.ID != c.ID || info.State != lock.JobFailed || info.Owner != owner || info.Fence != r.Grant.Fence || info.Cause != run {
			t.Fatalf("remembered %+v", info)
		}
		if other != c.ID && d.get(other).State != lock.JobAbsent {
			t.Fatalf("%+v is mixed up with %+v", other, c.ID)
		}
		wantErr(t, l.Jobs().Reset(ctx, c.ID), nil)
		if info := d.get(c.ID); info.State != lock.JobAbsent {
			t.Fatalf("after Reset: %+v", info)
		}
	})
}

// FuzzEntry puts anything under a lock. What is not ours is never granted over,
// and never changed.
func FuzzEntry(f *testing.F) {
	for _, value := range foreign {
		f.Add(value)
	}
	const shape = "L%s" + "1795000000000000001" + "AbCdEfGhI-_" + "%s" + "him"
	f.Add(fmt.Sprintf(shape, "00000000000001", "00000000000001"))
	f.Add(fmt.Sprintf(shape, "99999999999999", "99999999999999"))
	f.Add(fmt.Sprintf(shape, "99999999999998", "00000000000000"))
	f.Add("O00000000000001f0001rp0000" + "0001795000000000" + "AbCdEfGhI-_")
	f.Add("O99999999999999f" + "0001795000000000" + "AbCdEfGhI-_")
	s := redistest.Start(f, redistest.Any)
	ns := s.Namespace(f)
	rdb := s.Client(f)
	l := newLocker(f, s, lock.Config{Namespace: ns})
	locks := keysOf(ns, 0)[1]
	f.Fuzz(func(t *testing.T, value string) {
		ctx := bounded(t)
		ours := wellFormed.MatchString(value)
		claim := lock.Claim{Resource: "r", Owner: "me", TTL: time.Minute}
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if ours { // it may be held for ever
			waiting, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		}
		defer cancel()
		for name, call := range map[string]func() error{
			"Owners":      func() error { _, err := l.Owners(ctx, "r"); return err },
			"Extend":      func() error { _, err := l.Extend(ctx, claim); return err },
			"TryLock":     func() error { _, err := l.TryLock(ctx, claim); return err },
			"TryLockAll":  func() error { _, err := l.TryLockAll(ctx, claim); return err },
			"ForceLock":   func() error { _, err := l.ForceLock(ctx, claim); return err },
			"Unlock":      func() error { _, err := l.Unlock(ctx, claim); return err },
			"ForceUnlock": func() error { _, err := l.ForceUnlock(ctx, "r"); return err },
			"Hold": func() error {
				le, err := l.Hold(waiting, claim)
				if err == nil {
					return le.Release(ctx)
				}
				return err
			},
		} {
			wantErr(t, rdb.HSet(ctx, locks, "r", value).Err(), nil)
			err := call()
			if got, e := rdb.HGet(ctx, locks, "r").Result(); !ours && (e != nil || got != value) {
				t.Fatalf("%s has changed %q to %q, %v", name, value, got, e)
			}
			if ours == errors.Is(err, lock.ErrCorruptState) {
				t.Fatalf("%s of %q: %v", name, value, err)
			}
		}
		wantErr(t, rdb.Del(ctx, locks, keysOf(ns, 0)[2], keysOf(ns, 0)[3]).Err(), nil)
	})
}

var (
	recordHead  = regexp.MustCompile(`^J[rfadxp][0-9]{14} ([0-9]{1,16}) ([0-9]{1,16}) [0-9]{14} [0-9]{14} `)
	recordGrant = regexp.MustCompile(`^([0-9]{1,16}) [0-8][0-9]{18} [0-9A-Za-z_-]{11} ([0-9]{1,16}) ([0-9]{1,16}) [-dfxrl] ([0-9]{1,16}) ([0-9]{1,16}) `)
)

// countable tells whether a number is one that Lua can count with.
func countable(digits string) bool {
	n, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && n <= 9e15
}

// isRecord tells whether this may stand as a job's record.
func isRecord(s string) bool {
	head := recordHead.FindStringSubmatch(s)
	if head == nil || !countable(head[1]) || !countable(head[2]) {
		return false
	}
	for s = s[len(head[0]):]; s != ""; {
		m := recordGrant.FindStringSubmatch(s)
		if m == nil || slices.ContainsFunc(m[1:], func(n string) bool { return !countable(n) }) {
			return false
		}
		owner, _ := strconv.Atoi(m[4])
		cause, _ := strconv.Atoi(m[5])
		if len(s) < len(m[0])+owner+cause {
			return false
		}
		s = s[len(m[0])+owner+cause:]
	}
	return true
}

// FuzzRecord does with the record of a job what FuzzEntry does with a lock.
func FuzzRecord(f *testing.F) {
	for _, value := range foreign {
		f.Add(value)
	}
	for _, state := range "rfadxp" {
		for _, end := range "-dfxrl" {
			f.Add(fmt.Sprintf("J%c00000000000000 1 2 00000000060000 00000000030000 1 1795000000000000001 AbCdEfGhI-_ 1795000000000 0 %c 3 3 himwhy", state, end))
		}
	}
	f.Add("Jf99999999999999 0 0 99999999999999 99999999999999 ")
	f.Add("Jf00000000000000 9999999999999999 1 00000000000000 00000000000000 ")
	s := redistest.Start(f, redistest.Any)
	ns := s.Namespace(f)
	rdb := s.Client(f)
	l := newLocker(f, s, lock.Config{Namespace: ns})
	keys := keysOf(ns, 0)
	const place = "0001jj0001r"
	id := lock.JobID{Key: "j", Run: "r"}
	f.Fuzz(func(t *testing.T, value string) {
		ctx := bounded(t)
		ours := isRecord(value)
		for _, step := range []struct {
			name string
			call func() error
		}{
			{"Get", func() error { _, err := l.Jobs().Get(ctx, id); return err }},
			{"List", func() error {
				for _, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
					return err
				}
				return errors.New("not listed")
			}},
			{"Settle", func() error {
				_, err := l.Jobs().Settle(ctx, lock.Settlement{ID: id, Grant: lock.Result{Fence: 1795000000000000001}, End: lock.Failed})
				return err
			}},
			{"Claim", func() error {
				_, err := l.Jobs().Claim(ctx, lock.JobClaim{ID: id, Owner: "me", MaxAttempts: 3})
				return err
			}},
			{"Reset", func() error { return l.Jobs().Reset(ctx, id) }},
		} {
			wantErr(t, rdb.Del(ctx, keys[1], keys[2], keys[5]).Err(), nil)
			wantErr(t, rdb.HSet(ctx, keys[4], place, value).Err(), nil)
			err := step.call()
			if ours == errors.Is(err, lock.ErrCorruptState) {
				t.Fatalf("%s of %q: %v", step.name, value, err)
			}
			if ours {
				continue
			}
			if got := must[string](t)(rdb.HGet(ctx, keys[4], place).Result()); got != value {
				t.Fatalf("%s has changed %q to %q", step.name, value, got)
			}
			if n := must[int64](t)(rdb.Exists(ctx, keys[1]).Result()); n != 0 {
				t.Fatalf("%s of %q has locked", step.name, value)
			}
		}
	})
}

// FuzzMessage sends anything to the channels: nobody is granted anything by it,
// nobody is disturbed.
func FuzzMessage(f *testing.F) {
	f.Add("")
	f.Add("0001rp0000")
	f.Add("0 1 1 1 x1:r2:me1:1")
	f.Add("0 1795000000000000 2 1795000000000000 l1:r2:me1:1u1:r2:me1:1")
	f.Add("0 9999999999999999999 99999999999 1 x1:r2:me1:1")
	f.Add("0 1 1 1 j1:j2:me1:110:0001jj00003:abc")
	f.Add(strings.Repeat("x", 1<<20))
	for _, value := range foreign {
		f.Add(value)
	}
	s := redistest.Start(f, redistest.Any)
	ns := s.Namespace(f)
	rdb := s.Client(f)
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	l := newLocker(f, s, lock.Config{Namespace: ns, Publish: true})
	events, err := l.Watch(ctx, lock.EventUnlock)
	wantErr(f, err, nil)
	seen := make(chan lock.Event, 1000)
	go func() {
		for e := range events {
			if strings.HasPrefix(e.Resource, "mark of ") {
				seen <- e
			}
		}
	}()
	must[lock.Results](f)(l.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: lock.NoExpiry}))
	waited := make(chan error, 1)
	go func() { _, err := l.Hold(ctx, lock.Claim{Resource: "r"}); waited <- err }()
	eventually(f, "nobody is queued", func() bool { return rdb.ZCard(ctx, keysOf(ns, 0)[3]).Val() == 2 })
	channels := append(wakeChannels(f, rdb, ns), ns+":events")
	if len(channels) != 2 {
		f.Fatalf("channels %q", channels)
	}
	n := 0
	f.Fuzz(func(t *testing.T, payload string) {
		for _, channel := range channels {
			wantErr(t, rdb.Publish(ctx, channel, payload).Err(), nil)
		}
		n++
		mark := fmt.Sprint("mark of ", n)
		rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", mark)...))
		must[lock.Results](t)(l.Unlock(ctx, rs.Claims()...))
		for e := receive(t, "the event of a real unlock", seen); e.Resource != mark || e.Fence != rs[0].Fence; {
			e = receive(t, "the event of a real unlock", seen)
		}
		select {
		case err := <-waited:
			t.Fatalf("the waiter returned: %v", err)
		default:
		}
		if h := must[lock.Results](t)(l.Owners(ctx, "r")); h[0].Owner != "me" {
			t.Fatalf("r is held by %q", h[0].Owner)
		}
	})
}

// wakeChannels lists the channels on which waiters of a namespace are woken.
func wakeChannels(t testing.TB, rdb *redis.Client, namespace string) []string {
	t.Helper()
	return must[[]string](t)(rdb.PubSubChannels(bounded(t), namespace+":wake:*").Result())
}
