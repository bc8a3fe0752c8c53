package comingfrom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func newEditorLocks(client redis.UniversalClient, name string) (*lock.Locker, error) {
	return lock.New(client, lock.Config{
		Namespace: name,
		TTL:       20 * time.Second, // lock.NoExpiry is what the ttl was by default
		Publish:   true,             // lock, unlock and extend events for the whole cluster
		Observers: []func(lock.Event){func(e lock.Event) {
			fmt.Println(e.Kind, e.Resource, e.Owner) // this process's own
		}},
	})
}

func editorLocks(ctx context.Context, locks *lock.Locker) error {
	// Each that is free is locked; the others' holders are in the results.
	results, err := locks.TryLock(ctx,
		lock.Claim{Resource: "article:12", Owner: "alice"},
		lock.Claim{Resource: "article:13", Owner: "alice"})
	if err != nil && !errors.Is(err, lock.ErrHeld) {
		return err
	}
	for _, r := range results.Refused() {
		fmt.Printf("%s is held by %s for another %v\n", r.Resource, r.Owner, r.TTL)
	}
	// Taken from whoever has it.
	if _, err := locks.ForceLock(ctx, lock.Claim{Resource: "article:13", Owner: "alice"}); err != nil {
		return err
	}
	// At each key that is pressed, or so: 20 s from now, for alice only.
	mine := lock.Claims("alice", "article:12", "article:13")
	if _, err := locks.Extend(ctx, mine...); err != nil {
		return err
	}
	holders, err := locks.Owners(ctx, "article:12", "article:14") // "" is nobody
	if err != nil {
		return err
	}
	fmt.Println(holders[0].Owner, holders[1].Owner)
	for r, err := range locks.List(ctx, lock.Query{Prefix: "article:"}) {
		if err != nil {
			return err
		}
		fmt.Println(r.Resource, r.Owner)
	}
	_, err = locks.Unlock(ctx, mine...) // ForceUnlock unlocks what others have
	return err
}

func watchArticles(ctx context.Context, locks *lock.Locker, show func(resource, owner string, kind lock.EventKind)) error {
	events, err := locks.Watch(ctx, lock.EventLock, lock.EventUnlock, lock.EventExtend, lock.EventExpire)
	if err != nil {
		return err
	}
	for e := range events {
		if e.Kind == lock.EventMissed {
			continue // some were lost: look with List
		}
		show(e.Resource, e.Owner, e.Kind)
	}
	return context.Cause(ctx)
}

func TestFastLocky(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	locks, err := newEditorLocks(server.Client(t), server.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = locks.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	seen, ended := make(chan string, 100), make(chan error, 1)
	go func() {
		ended <- watchArticles(ctx, locks, func(resource, owner string, kind lock.EventKind) {
			seen <- fmt.Sprint(kind, " ", resource, " ", owner)
		})
	}()
	// The watcher is live when it sees a lock that is taken and dropped until it does.
	for live := false; !live; {
		if _, err := locks.TryLock(ctx, lock.Claim{Resource: "probe", Owner: "test"}); err != nil {
			t.Fatal(err)
		}
		if _, err := locks.Unlock(ctx, lock.Claims("test", "probe")...); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
			live = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := locks.TryLock(ctx, lock.Claim{Resource: "article:13", Owner: "bob"}); err != nil {
		t.Fatal(err)
	}
	if err := editorLocks(ctx, locks); err != nil {
		t.Fatal(err)
	}
	if _, err := locks.TryLock(ctx, lock.Claim{Resource: "article:15", Owner: "bob", TTL: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	want := []string{"lock article:13 bob", "lock article:12 alice", "lock article:13 alice", "extend article:12 alice",
		"extend article:13 alice", "unlock article:12 alice", "unlock article:13 alice", "lock article:15 bob", "expire article:15 bob"}
	for len(want) > 0 {
		select {
		case e := <-seen:
			if i := slices.Index(want, e); i >= 0 {
				want = slices.Delete(want, i, i+1)
			}
		case <-ctx.Done():
			t.Fatalf("not seen: %v", want)
		}
	}
	if held, err := locks.Owners(ctx, "article:12", "article:13"); err != nil || held[0].Owner+held[1].Owner != "" {
		t.Errorf("still held: %+v, %v", held, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
