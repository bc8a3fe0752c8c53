package locktest

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// Take has somebody else take a lock, or a job by its key, for so long, whoever has it; lock.NoExpiry is for good. Who had
// it loses the lease, and is told at its next renewal, within a third of the lease time; who wants it has to wait. No
// attempt is counted. What Take returns gives the lock back before its time.
//
// It is done in the one namespace that this Redis has: that of the Lockers that Locker made, or what else was set up; the
// default if there is none yet. If there are several, Take fails the test: then use ForceLock of a Locker.
func (r *Redis) Take(resource, owner string, ttl time.Duration) (giveBack func()) {
	r.tb.Helper()
	giveBack, err := r.take(resource, owner, ttl)
	if err != nil {
		r.tb.Errorf("locktest: Take: %v", err)
		return func() {}
	}
	return giveBack
}

func (r *Redis) take(resource, owner string, ttl time.Duration) (giveBack func(), err error) {
	at, err := r.place()
	if err != nil {
		return nil, err
	}
	l, err := r.taker(at)
	if err != nil {
		return nil, err
	}
	ctx := context.Background() // nothing befalls it, so it does not wait
	taken, err := l.ForceLock(ctx, lock.Claim{Resource: resource, Owner: owner, TTL: ttl})
	if err != nil {
		return nil, err
	}
	return func() { _, _ = l.Unlock(ctx, taken.Claims()...) }, nil // by its fence: it may be over, or another's by now
}

// A place is a namespace, with its number of shards; the zero values are the defaults.
type place struct {
	namespace string
	shards    int
}

// taker returns the Locker of Take there.
func (r *Redis) taker(at place) (*lock.Locker, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.takers[at]; l != nil {
		return l, nil
	}
	l, err := lock.New(r.own, lock.Config{Namespace: at.namespace, Shards: at.shards})
	if err == nil {
		r.takers[at] = l
		r.lockers = append(r.lockers, l)
	}
	return l, err
}

// setUp makes the first call of a namespace, which finds it new.
func (r *Redis) setUp(at place) error {
	l, err := r.taker(at)
	if err != nil {
		return err
	}
	_, err = l.Owners(context.Background(), "any")
	return err
}

// record is the name of a namespace's one global key, which holds its number of shards; see package lock.
var record = regexp.MustCompile(`^\{([^{}]+)\}:shards$`)

// place returns the one that this Redis has.
func (r *Redis) place() (place, error) {
	var found []place
	for _, key := range r.server.Keys() {
		name := record.FindStringSubmatch(key)
		if name == nil {
			continue
		}
		text, err := r.server.Get(key)
		if err != nil {
			continue // another kind of key
		}
		shards, err := strconv.Atoi(text)
		if err != nil {
			return place{}, fmt.Errorf("%q is %q, and not the number of shards", key, text)
		}
		found = append(found, place{name[1], shards})
	}
	switch len(found) {
	case 0:
		return place{}, nil
	case 1:
		return found[0], nil
	}
	return place{}, fmt.Errorf("there are several namespaces, %q and %q among them", found[0].namespace, found[1].namespace)
}
