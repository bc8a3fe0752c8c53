package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestNothingSecretIsSaid: neither logs, on every level, nor errors, nor what a
// Locker and a Report print show the password, the URL with it, or a payload.
func TestNothingSecretIsSaid(t *testing.T) {
	t.Parallel()
	const payload = "top secret payload"
	s := redistest.Start(t, redistest.Own, redistest.User(account("app", lock.ACLOf("app", false))), redistest.Config("requirepass", password))
	core, logs := observer.New(zap.DebugLevel)
	client := func(user, password string) *redis.Client {
		o := must[*redis.Options](t)(redis.ParseURL(fmt.Sprintf("redis://%s:%s@%s", user, password, s.Addr())))
		o.MaxRetries, o.DialerRetries = -1, 1
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	var said []string
	say := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
		}
		said = append(said, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
	locker := func(rdb *redis.Client) *lock.Locker {
		return newLockerOn(t, rdb, lock.Config{Namespace: "app", Logger: zap.New(core), Observers: []func(lock.Event){func(lock.Event) { panic("observed") }}})
	}
	ctx := bounded(t)
	admin := client("default", password)
	l := locker(client("app", password))
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "held", TTL: 500 * time.Millisecond}))
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "r")...))
	said = append(said, fmt.Sprintf("%v %+v %s", l, l, l))

	// Values that are not ours.
	wantErr(t, admin.HSet(ctx, "{app:0}:locks", "bad", payload).Err(), nil)
	wantErr(t, admin.HSet(ctx, "{app:0}:jobs", "0003badj0000", payload).Err(), nil)
	_, err := l.TryLock(ctx, lock.Claims("me", "bad")...)
	say(err)
	_, err = l.Jobs().Get(ctx, lock.JobID{Key: "bad"})
	say(err)
	report := checked(t, client("app", password), lock.Config{Namespace: "app"})
	said = append(said, report.String(), checked(t, admin, lock.Config{Namespace: "app"}).String())

	// Rights that are missing, and passwords that are wrong.
	wantErr(t, admin.ACLSetUser(ctx, "app", "-hset").Err(), nil)
	_, err = l.TryLock(ctx, lock.Claims("me", "denied")...)
	say(err)
	const wrong = "close-sesame"
	_, err = locker(client("app", wrong)).TryLock(ctx, lock.Claims("me", "x")...)
	say(err)
	_, err = lock.Check(ctx, client("app", wrong), lock.Config{Namespace: "app"})
	say(err)

	// A server that is gone.
	s.Kill()
	<-lease.Context().Done()
	say(context.Cause(lease.Context()))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = l.TryLock(short, lock.Claims("me", "x")...)
	say(err)
	_, err = lock.Check(ctx, client("app", password), lock.Config{Namespace: "app"})
	wantErr(t, err, lock.ErrUnavailable)
	say(err)
	wantErr(t, errors.Join(l.Close()), nil)

	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, e := range logs.All() {
		said = append(said, fmt.Sprint(e.Message, e.ContextMap()))
	}
	for _, text := range said {
		for _, secret := range []string{password, wrong, "redis://", payload} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in: %s", secret, text)
			}
		}
	}
}
