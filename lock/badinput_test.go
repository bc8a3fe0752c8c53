package lock_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

var long = strings.Repeat("x", lock.MaxName+1)

func TestNewNamesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	_, err := lock.New(rdb, lock.Config{
		Namespace: "a{b}", Owner: long, TTL: lock.MinTTL - 1, Shards: -1, Observers: []func(lock.Event){nil},
	})
	wantErr(t, err, lock.ErrInvalid)
	for _, part := range []string{"Namespace", "braces", "Owner", "at most 512", "TTL", "at least 10ms", "Shards", "1 to 16384", "Observers[0]"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error:\n%v", part, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	t.Cleanup(func() { _ = rdb.Close(); _ = ring.Close() })
	for name, c := range map[string]struct {
		rdb redis.UniversalClient
		cfg lock.Config
	}{
		"no client":           {nil, lock.Config{}},
		"nil *Client":         {(*redis.Client)(nil), lock.Config{}},
		"nil *ClusterClient":  {(*redis.ClusterClient)(nil), lock.Config{}},
		"nil *Ring":           {(*redis.Ring)(nil), lock.Config{}},
		"a Ring":              {ring, lock.Config{}},
		"opening brace":       {rdb, lock.Config{Namespace: "{a"}},
		"closing brace":       {rdb, lock.Config{Namespace: "a}"}},
		"long namespace":      {rdb, lock.Config{Namespace: long}},
		"negative TTL":        {rdb, lock.Config{TTL: -time.Second}},
		"short TTL":           {rdb, lock.Config{TTL: 9 * time.Millisecond}},
		"too many shards":     {rdb, lock.Config{Shards: 16385}},
		"negative shards":     {rdb, lock.Config{Shards: -3}},
		"nil client, bad TTL": {nil, lock.Config{TTL: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := lock.New(c.rdb, c.cfg)
			wantErr(t, err, lock.ErrInvalid)
			if l != nil {
				t.Error("a Locker and an error")
			}
		})
	}
	for name, cfg := range map[string]lock.Config{
		"zero":        {},
		"limits":      {Namespace: strings.Repeat("n", lock.MaxName), TTL: lock.MinTTL, Shards: 16384},
		"no expiry":   {TTL: lock.NoExpiry},
		"odd letters": {Namespace: "a:b*\x00\xff "},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := lock.New(rdb, cfg)
			wantErr(t, err, nil)
			wantErr(t, l.Close(), nil)
		})
	}
}

// each is a call of one claim or resource, for calls that should fail before
// anything is sent.
type each struct {
	name string
	call func(context.Context, *lock.Locker) error
}

func claimCalls(c lock.Claim) []each {
	return []each{
		{"TryLock", func(ctx context.Context, l *lock.Locker) error { _, err := l.TryLock(ctx, c); return err }},
		{"TryLockAll", func(ctx context.Context, l *lock.Locker) error { _, err := l.TryLockAll(ctx, c); return err }},
		{"ForceLock", func(ctx context.Context, l *lock.Locker) error { _, err := l.ForceLock(ctx, c); return err }},
		{"Extend", func(ctx context.Context, l *lock.Locker) error { _, err := l.Extend(ctx, c); return err }},
		{"Unlock", func(ctx context.Context, l *lock.Locker) error { _, err := l.Unlock(ctx, c); return err }},
	}
}

func holdCalls(c lock.Claim) []each {
	return []each{
		{"Hold", func(ctx context.Context, l *lock.Locker) error { _, err := l.Hold(ctx, c); return err }},
		{"TryHold", func(ctx context.Context, l *lock.Locker) error { _, err := l.TryHold(ctx, c); return err }},
		{"Do", func(ctx context.Context, l *lock.Locker) error {
			return l.Do(ctx, c, func(context.Context, *lock.Lease) error { return nil })
		}},
	}
}

func nameCalls(name string) []each {
	return []each{
		{"ForceUnlock", func(ctx context.Context, l *lock.Locker) error { _, err := l.ForceUnlock(ctx, name); return err }},
		{"Owners", func(ctx context.Context, l *lock.Locker) error { _, err := l.Owners(ctx, name); return err }},
	}
}

func jobCalls(c lock.JobClaim) []each {
	return []each{
		{"Claim", func(ctx context.Context, l *lock.Locker) error { _, err := l.Jobs().Claim(ctx, c); return err }},
		{"Await", func(ctx context.Context, l *lock.Locker) error { _, _, err := l.Jobs().Await(ctx, c); return err }},
		{"TryAwait", func(ctx context.Context, l *lock.Locker) error { _, _, err := l.Jobs().TryAwait(ctx, c); return err }},
	}
}

func idCalls(id lock.JobID) []each {
	return []each{
		{"Get", func(ctx context.Context, l *lock.Locker) error { _, err := l.Jobs().Get(ctx, id); return err }},
		{"Reset", func(ctx context.Context, l *lock.Locker) error { return l.Jobs().Reset(ctx, id) }},
	}
}

func settleCalls(s lock.Settlement) []each {
	return []each{{"Settle", func(ctx context.Context, l *lock.Locker) error { _, err := l.Jobs().Settle(ctx, s); return err }}}
}

func TestBadInputIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claims("me", "warm up")...))
	p.ResetCounters()

	good := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 1}
	job := func(change func(*lock.JobClaim)) lock.JobClaim { c := good; change(&c); return c }
	granted := lock.Settlement{Grant: lock.Result{Fence: 1}, ID: lock.JobID{Key: "j"}, End: lock.Done}
	settle := func(change func(*lock.Settlement)) lock.Settlement { s := granted; change(&s); return s }
	claims := func(c lock.Claim) []each { return append(claimCalls(c), holdCalls(c)...) }
	for _, c := range []struct {
		name  string
		parts []string // what the error must name
		calls []each
	}{
		{"empty resource", []string{"Resource", "empty"}, claims(lock.Claim{Owner: "me"})},
		{"long resource", []string{"Resource", "513", "512"}, claims(lock.Claim{Resource: long, Owner: "me"})},
		{"empty owner", []string{"Owner", "empty"}, claimCalls(lock.Claim{Resource: "r"})},
		{"long owner", []string{"Owner", "513", "512"}, claims(lock.Claim{Resource: "r", Owner: long})},
		{"short TTL", []string{"TTL", "9.999999ms", "10ms"}, claims(lock.Claim{Resource: "r", Owner: "me", TTL: lock.MinTTL - 1})},
		{"negative TTL", []string{"TTL", "-1s"}, claims(lock.Claim{Resource: "r", Owner: "me", TTL: -time.Second})},
		{"negative fence", []string{"Fence"}, claims(lock.Claim{Resource: "r", Owner: "me", Fence: -1})},
		{"fence on a lock", []string{"Fence"}, append(claimCalls(lock.Claim{Resource: "r", Owner: "me", Fence: 1})[:3],
			holdCalls(lock.Claim{Resource: "r", Fence: 1})...)},
		{"empty name", []string{"Resource", "empty"}, nameCalls("")},
		{"long name", []string{"Resource", "513", "512"}, nameCalls(long)},
		{"nil function", []string{"f is nil"}, []each{{"Do", func(ctx context.Context, l *lock.Locker) error {
			return l.Do(ctx, lock.Claim{Resource: "r"}, nil)
		}}}},
		{"empty key", []string{"Key", "empty"}, append(append(jobCalls(job(func(c *lock.JobClaim) { c.ID.Key = "" })),
			idCalls(lock.JobID{Run: "r"})...), settleCalls(settle(func(s *lock.Settlement) { s.ID.Key = "" }))...)},
		{"long key", []string{"Key", "513", "512"}, append(append(jobCalls(job(func(c *lock.JobClaim) { c.ID.Key = long })),
			idCalls(lock.JobID{Key: long})...), settleCalls(settle(func(s *lock.Settlement) { s.ID.Key = long }))...)},
		{"long run", []string{"Run", "513", "512"}, append(append(jobCalls(job(func(c *lock.JobClaim) { c.ID.Run = long })),
			idCalls(lock.JobID{Key: "j", Run: long})...), settleCalls(settle(func(s *lock.Settlement) { s.ID.Run = long }))...)},
		{"long owner of a job", []string{"Owner", "513", "512"}, jobCalls(job(func(c *lock.JobClaim) { c.Owner = long }))},
		{"short TTL of a job", []string{"TTL", "10ms"}, jobCalls(job(func(c *lock.JobClaim) { c.TTL = 1 }))},
		{"negative TTL of a job", []string{"TTL", "10ms"}, jobCalls(job(func(c *lock.JobClaim) { c.TTL = -1 }))},
		{"NoExpiry of a job", []string{"TTL"}, jobCalls(job(func(c *lock.JobClaim) { c.TTL = lock.NoExpiry }))},
		{"no attempts", []string{"MaxAttempts 0", "1 to"}, jobCalls(job(func(c *lock.JobClaim) { c.MaxAttempts = 0 }))},
		{"negative attempts", []string{"MaxAttempts -1", "1 to"}, jobCalls(job(func(c *lock.JobClaim) { c.MaxAttempts = -1 }))},
		{"too many attempts", []string{"MaxAttempts", "1 to"}, jobCalls(job(func(c *lock.JobClaim) { c.MaxAttempts = math.MaxInt }))},
		{"negative retention", []string{"Retention -1ns"}, append(jobCalls(job(func(c *lock.JobClaim) { c.Retention = -1 })),
			settleCalls(settle(func(s *lock.Settlement) { s.Retention = -1 }))...)},
		{"settled without a grant", []string{"Fence 0"}, settleCalls(settle(func(s *lock.Settlement) { s.Grant.Fence = 0 }))},
		{"settled without an end", []string{"End 0"}, settleCalls(settle(func(s *lock.Settlement) { s.End = 0 }))},
		{"settled with an unknown end", []string{"End 9"}, settleCalls(settle(func(s *lock.Settlement) { s.End = 9 }))},
		{"negative delay", []string{"Delay"}, settleCalls(settle(func(s *lock.Settlement) { s.Delay = -1 }))},
		{"endless delay", []string{"Delay"}, settleCalls(settle(func(s *lock.Settlement) { s.Delay = lock.NoExpiry }))},
	} {
		for _, call := range c.calls {
			t.Run(c.name+"/"+call.name, func(t *testing.T) {
				err := call.call(bounded(t), l)
				wantErr(t, err, lock.ErrInvalid)
				for _, part := range c.parts {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q is not in the error: %v", part, err)
					}
				}
			})
		}
	}
	if sent := p.Commands(); len(sent) != 0 {
		t.Errorf("commands were sent: %v", sent)
	}
}

// all is every call that takes a context, with good input.
func all() []each {
	c := lock.Claim{Resource: "r", Owner: "me"}
	id := lock.JobID{Key: "j"}
	calls := append(claimCalls(c), holdCalls(c)...)
	calls = append(calls, nameCalls("r")...)
	calls = append(calls, jobCalls(lock.JobClaim{ID: id, MaxAttempts: 1})...)
	calls = append(calls, idCalls(id)...)
	calls = append(calls, settleCalls(lock.Settlement{Grant: lock.Result{Fence: 1}, ID: id, End: lock.Done})...)
	return append(calls,
		each{"Keep", func(ctx context.Context, l *lock.Locker) error { _, err := l.Keep(ctx); return err }},
		each{"Watch", func(ctx context.Context, l *lock.Locker) error { _, err := l.Watch(ctx); return err }},
		each{"List", func(ctx context.Context, l *lock.Locker) error {
			for _, err := range l.List(ctx, lock.Query{}) {
				return err
			}
			return nil
		}},
		each{"Jobs.List", func(ctx context.Context, l *lock.Locker) error {
			for _, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
				return err
			}
			return nil
		}})
}

func TestNothingIsSentWithoutALiveContext(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{})
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claims("me", "warm up")...))
	p.ResetCounters()
	why := errors.New("why")
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	plain, stop := context.WithCancel(context.Background())
	stop()
	late, over := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer over()
	for _, call := range all() {
		t.Run(call.name, func(t *testing.T) {
			var none context.Context
			wantErr(t, call.call(none, l), lock.ErrInvalid)
			wantErr(t, call.call(cancelled, l), why)
			wantErr(t, call.call(plain, l), context.Canceled)
			wantErr(t, call.call(late, l), context.DeadlineExceeded)
		})
	}
	if sent := p.Commands(); len(sent) != 0 {
		t.Errorf("commands were sent: %v", sent)
	}
}

func TestSecondOfTheSameResourceIsAnError(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		check := func(rs lock.Results, err error) {
			t.Helper()
			wantErr(t, err, lock.ErrInvalid)
			for i, want := range []error{nil, nil, lock.ErrInvalid, lock.ErrInvalid} {
				if !errors.Is(rs[i].Err, want) {
					t.Errorf("result %d: %v, want %v", i, rs[i].Err, want)
				}
			}
			if text := rs[3].Err.Error(); !strings.Contains(text, "[3]") || !strings.Contains(text, `"a"`) {
				t.Errorf("does not tell which: %v", text)
			}
		}
		twice := []string{"a", "b", "b", "a"}
		check(l.TryLock(ctx, lock.Claims("me", twice...)...))
		check(l.Extend(ctx, lock.Claims("me", twice...)...))
		check(l.Owners(ctx, twice...))
		check(l.Unlock(ctx, lock.Claims("me", twice...)...))
		check(l.ForceLock(ctx, lock.Claims("me", twice...)...))
		check(l.ForceUnlock(ctx, twice...))

		// Of a key, whatever the run: one lock serves all of them.
		rs, err := l.Jobs().Claim(ctx,
			lock.JobClaim{ID: lock.JobID{Key: "j", Run: "1"}, MaxAttempts: 1},
			lock.JobClaim{ID: lock.JobID{Key: "j", Run: "2"}, MaxAttempts: 1})
		wantErr(t, err, lock.ErrInvalid)
		if rs[0].Grant.Err != nil || !errors.Is(rs[1].Grant.Err, lock.ErrInvalid) {
			t.Errorf("results %+v", rs)
		}
		settled, err := l.Jobs().Settle(ctx,
			lock.Settlement{Grant: rs[0].Grant, ID: rs[0].Job.ID, End: lock.Done},
			lock.Settlement{Grant: rs[0].Grant, ID: rs[0].Job.ID, End: lock.Failed})
		wantErr(t, err, lock.ErrInvalid)
		if settled[0].Err != nil || !errors.Is(settled[1].Err, lock.ErrInvalid) {
			t.Errorf("settled %+v", settled)
		}
	})
}

// One bad input does not keep the others from being served.
func TestBadInputFailsByItself(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		l := w.locker(t, lock.Config{})
		rs, err := l.TryLock(ctx, lock.Claim{Resource: "a", Owner: "me"}, lock.Claim{Resource: "b"},
			lock.Claim{Resource: long, Owner: "me"}, lock.Claim{Resource: "c", Owner: "me"})
		wantErr(t, err, lock.ErrInvalid)
		for i, want := range []error{nil, lock.ErrInvalid, lock.ErrInvalid, nil} {
			if !errors.Is(rs[i].Err, want) || (rs[i].Owner == "me") != (want == nil) {
				t.Errorf("result %d is %+v, want %v", i, rs[i], want)
			}
		}
		infos, err := l.Jobs().Get(ctx, lock.JobID{}, lock.JobID{Key: "j"})
		wantErr(t, err, lock.ErrInvalid)
		if len(infos) != 2 || infos[1].ID.Key != "j" {
			t.Errorf("infos %+v", infos)
		}
	})
}
