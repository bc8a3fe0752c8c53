package lock_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

const password = "open-sesame"

// rights are those that the package's documentation lists, as an ACL line for a
// namespace; more are those that it adds for Cluster.
func rights(t testing.TB, namespace string) (line, more string) {
	t.Helper()
	doc := string(must[[]byte](t)(os.ReadFile("doc.go")))
	_, doc, found := strings.Cut(doc, "// A Redis user who may do this, and no more, is enough for all of the package:\n//\n")
	if !found {
		t.Fatal("doc.go does not list the rights")
	}
	var words []string
	for text := range strings.Lines(doc) {
		if rule, listed := strings.CutPrefix(text, "//\t"); listed {
			words = append(words, strings.Fields(rule)...)
			continue
		}
		if strings.HasPrefix(text, "// and on Cluster ") {
			more = strings.Join(regexp.MustCompile(`\+[a-z|]+`).FindAllString(text, -1), " ")
			break
		}
	}
	line = strings.ReplaceAll(strings.Join(words, " "), "namespace", namespace)
	if !strings.HasPrefix(line, "~{"+namespace+":* ") || !strings.Contains(line, " +eval ") || !strings.HasPrefix(more, "+cluster|") {
		t.Fatalf("rights read from doc.go: %q, on Cluster %q", line, more)
	}
	return line, more
}

// account is a user with these rights alone.
func account(name, line string) string {
	return fmt.Sprintf("%s on >%s resetkeys resetchannels -@all %s", name, password, line)
}

// as is a client of a server's user with that name.
func as(t testing.TB, s *redistest.Server, name string) *redis.Client {
	t.Helper()
	o := s.Options()
	o.Username, o.Password = name, password
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// wantNoDenials looks at the ACL log of a server, as an administrator. go-redis
// introduces itself (CLIENT SETINFO and the like) and goes on if it may not.
func wantNoDenials(t testing.TB, s *redistest.Server) {
	t.Helper()
	for _, e := range must[[]*redis.ACLLogEntry](t)(s.Client(t).ACLLog(bounded(t), 1000).Result()) {
		if !strings.HasPrefix(e.Object, "client|") {
			t.Errorf("%s: denied %s (%s, %s) to %s, %d times", s, e.Object, e.Reason, e.Context, e.Username, e.Count)
		}
	}
}

// useAll calls everything that the package has, with the Lockers of two users.
func useAll(t *testing.T, l, other *lock.Locker) {
	t.Helper()
	ctx := bounded(t)
	expiries := must[iter.Seq[lock.Event]](t)(other.Watch(ctx, lock.EventExpire))

	locks(ctx, t, l)
	waiting(ctx, t, l, other)
	jobs(ctx, t, l, other)

	must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "short", Owner: "me", TTL: lock.MinTTL}))
	seen := false
	for e := range expiries {
		if e.Resource == "short" {
			seen = true
			break
		}
	}
	if !seen {
		t.Error("no expiry was seen")
	}
}

func locks(ctx context.Context, t *testing.T, l *lock.Locker) {
	t.Helper()
	got := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", 50)...)...))
	must[lock.Results](t)(l.TryLockAll(ctx, lock.Claims("me", "all")...))
	must[lock.Results](t)(l.ForceLock(ctx, lock.Claims("you", "all", "forced")...))
	claims := got.Claims()
	for i := range claims {
		claims[i].TTL = time.Hour
	}
	must[lock.Results](t)(l.Extend(ctx, claims...))
	must[lock.Results](t)(l.Owners(ctx, "all", "free"))
	found := 0
	for _, err := range l.List(ctx, lock.Query{}) {
		wantErr(t, err, nil)
		found++
	}
	if found != 52 {
		t.Errorf("List found %d locks", found)
	}
	must[lock.Results](t)(l.Unlock(ctx, claims...))
	must[lock.Results](t)(l.ForceUnlock(ctx, "all", "forced"))
}

// waiting hands a lock over, to a waiter and after one has left, and renews it meanwhile.
func waiting(ctx context.Context, t *testing.T, l, other *lock.Locker) {
	t.Helper()
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "held", TTL: 2 * time.Second}))
	first := lease.Deadline()
	gone, leave := context.WithCancel(ctx)
	left, granted := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := other.Hold(gone, lock.Claim{Resource: "held"})
		left <- err
	}()
	go func() {
		granted <- other.Do(ctx, lock.Claim{Resource: "held"}, func(context.Context, *lock.Lease) error { return nil })
	}()
	eventually(t, "two waiters", func() bool { return other.Stats().Waiters == 2 })
	leave()
	wantErr(t, receive(t, "the end of the waiting", left), context.Canceled)
	eventually(t, "a renewal", func() bool { return lease.Deadline().After(first.Add(100 * time.Millisecond)) })
	wantErr(t, lease.Release(ctx), nil)
	wantErr(t, receive(t, "the hand-over", granted), nil)
}

func jobs(ctx context.Context, t *testing.T, l, other *lock.Locker) {
	t.Helper()
	d := desk{t, l}
	claim := lock.JobClaim{ID: lock.JobID{Key: "job", Run: "run"}, Owner: "me", MaxAttempts: 3, Retention: lock.MinTTL}
	r := d.granted(claim)
	awaited := make(chan error, 1)
	go func() {
		lease, _, err := other.Jobs().Await(ctx, claim)
		if err == nil {
			err = lease.Settle(ctx, lock.Settlement{End: lock.Done, Retention: time.Hour})
		}
		awaited <- err
	}()
	eventually(t, "a waiter in the queue", func() bool { return d.get(claim.ID).Waiters == 1 })
	for info, err := range l.Jobs().List(ctx, lock.JobQuery{}) {
		wantErr(t, err, nil)
		if info.State != lock.JobRunning {
			t.Errorf("listed: %+v", info)
		}
	}
	d.settle(r, lock.Settlement{End: lock.Failed, Cause: "boom"})
	wantErr(t, receive(t, "the second attempt", awaited), nil)
	if info := d.get(claim.ID); info.State != lock.JobDone || info.Attempt != 2 {
		t.Errorf("the run is %+v", info)
	}
	wantErr(t, l.Jobs().Reset(ctx, claim.ID), nil)
}

func TestDocumentedRightsAreEnough(t *testing.T) {
	t.Parallel()
	line, _ := rights(t, "app")
	s := redistest.Start(t, redistest.Own, redistest.User(account("app", line)))
	admin := s.Client(t)
	wantErr(t, admin.ConfigResetStat(bounded(t)).Err(), nil)
	locker := func(publish bool) *lock.Locker {
		o := s.Options()
		o.Username, o.Password = "app", password
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return newLockerOn(t, rdb, lock.Config{Namespace: "app", Publish: publish})
	}
	l, other := locker(true), locker(false)
	useAll(t, l, other)
	eventually(t, "the end of the watching", func() bool {
		return must[map[string]int64](t)(admin.PubSubNumSub(bounded(t), "app:events").Result())["app:events"] == 0
	})
	wantErr(t, errors.Join(l.Close(), other.Close()), nil)
	wantNoDenials(t, s)

	// And none of them is superfluous.
	stats := must[map[string]int64](t)(redistest.Commandstats(bounded(t), admin))
	for _, right := range strings.Fields(line) {
		command, isCommand := strings.CutPrefix(right, "+")
		if isCommand && command != "ping" && stats[command] == 0 { // a connection is pinged when it was silent for long
			t.Errorf("%s is never needed", right)
		}
	}
}

func TestDocumentedRightsAreEnoughOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own, redistest.User(account("app", lock.ACLOf("app", true))))
	locker := func(publish bool) *lock.Locker {
		o := c.Options()
		o.Username, o.Password = "app", password
		rdb := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return newLockerOn(t, rdb, lock.Config{Namespace: "app", Publish: publish})
	}
	l, other := locker(true), locker(false)
	useAll(t, l, other)
	wantErr(t, errors.Join(l.Close(), other.Close()), nil)
	for _, s := range c.Nodes() {
		wantNoDenials(t, s)
	}

	// And none that Cluster adds is superfluous.
	used := make(map[string]bool)
	for _, s := range c.Nodes() {
		for command, n := range must[map[string]int64](t)(redistest.Commandstats(bounded(t), s.Client(t))) {
			used[command] = used[command] || n > 0
		}
	}
	for _, command := range []string{"cluster|slots", "command"} { // asking: while a slot migrates
		if !used[command] {
			t.Errorf("%s is never needed", command)
		}
	}
}

// denials are what Redis says to those who have no right: by itself, and in a script.
var denials = []string{
	"NOPERM", "WRONGPASS", "can't run this command", "can't access at least one of the keys", "can't publish to the channel",
}

// TestUnknownUserIsTold: the password is wrong, or the user is disabled.
func TestUnknownUserIsTold(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	admin := s.Client(t)
	for _, deny := range []string{"resetpass", "off"} {
		t.Run(deny, func(t *testing.T) {
			ctx := bounded(t)
			ns := s.Namespace(t)
			line, _ := rights(t, ns)
			user := strings.Fields(account("app", line+" "+deny))
			wantErr(t, admin.ACLSetUser(ctx, user[0], append([]string{"reset"}, user[1:]...)...).Err(), nil)
			l := newLockerOn(t, as(t, s, "app"), lock.Config{Namespace: ns})
			_, err := l.TryLock(ctx, lock.Claims("me", "r")...)
			wantDenied(t, err)
		})
	}
	if n := must[int64](t)(admin.DBSize(bounded(t)).Result()); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// wantDenied ends the test unless err tells that a right is missing.
func wantDenied(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Fatal("nothing was denied")
	case errors.Is(err, lock.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		t.Fatalf("what will not mend is called temporary: %v", err)
	case strings.Contains(err.Error(), password):
		t.Errorf("the error shows the password: %v", err)
	}
	if !slices.ContainsFunc(denials, func(d string) bool { return strings.Contains(err.Error(), d) }) {
		t.Errorf("the error does not tell that a right is missing: %v", err)
	}
}
