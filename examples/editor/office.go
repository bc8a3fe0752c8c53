package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/lock"
)

// office is the part of a web server that has to do with locks. What a browser has locked the browser knows: it sends the
// claims along with each request. So an office need not remember anything.
type office struct {
	client *redis.Client
	locker *lock.Locker
}

func newOffice(url string, lease time.Duration) (*office, error) {
	client, err := demo.Connect(url)
	if err != nil {
		return nil, err
	}
	locker, err := lock.New(client, lock.Config{TTL: lease, Publish: true})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &office{client, locker}, nil
}

func (o *office) close() {
	_ = o.locker.Close()
	_ = o.client.Close()
}

// open locks articles for a tab, each on its own. What comes back as refused is to be shown for reading only, with the name
// of its holder; the error is for what nobody expects.
func (o *office) open(ctx context.Context, tab string, articles ...string) (opened, refused lock.Results, err error) {
	results, err := o.locker.TryLock(ctx, lock.Claims(tab, articles...)...)
	return results.OK(), results.Refused(), unless(err, results, lock.ErrHeld)
}

// heartbeat keeps a tab's articles for another lease: all of them in one round trip. Those that come back as lost are
// somebody else's now, or nobody's: their Owner says which. With the fence in the claim it is this very lock that is kept,
// and not one that the tab was granted anew in between.
func (o *office) heartbeat(ctx context.Context, claims []lock.Claim) (kept, lost lock.Results, err error) {
	results, err := o.locker.Extend(ctx, claims...)
	return results.OK(), results.Refused(), unless(err, results, lock.ErrHeld, lock.ErrNotHeld)
}

// leave gives articles back. That one has run out, or was taken away, is no news to who leaves.
func (o *office) leave(ctx context.Context, claims []lock.Claim) error {
	results, err := o.locker.Unlock(ctx, claims...)
	return unless(err, results, lock.ErrHeld, lock.ErrNotHeld)
}

// seize takes an article from whoever has it, for an administrator. What is written to has to see the new fence before
// anything is read from it: then no save of the former holder can come later.
func (o *office) seize(ctx context.Context, tab, article string) (lock.Result, error) {
	results, err := o.locker.ForceLock(ctx, lock.Claim{Resource: article, Owner: tab})
	if err != nil {
		return lock.Result{}, err
	}
	return results[0], nil
}

// list is what the side of the screen begins with.
func (o *office) list(ctx context.Context, prefix string) (lock.Results, error) {
	var held lock.Results
	for r, err := range o.locker.List(ctx, lock.Query{Prefix: prefix}) {
		if err != nil {
			return nil, err
		}
		held = append(held, r)
	}
	return held, nil
}

// follow is how the side of the screen goes on. After EventMissed it has to list again.
func (o *office) follow(ctx context.Context) (iter.Seq[lock.Event], error) {
	return o.locker.Watch(ctx, lock.EventLock, lock.EventUnlock, lock.EventExpire)
}

// unless returns err, or nil if no article was refused for another reason than these.
func unless(err error, results lock.Results, reasons ...error) error {
	if err == nil || len(results) == 0 {
		return err
	}
	for _, r := range results.Refused() {
		if !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(r.Err, reason) }) {
			return err
		}
	}
	return nil
}
