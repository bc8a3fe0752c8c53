package main

import (
	"context"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

const (
	usedRueidislock = "`KeyMajority: 1` and `NoLoopTracking: true`, as its README has it for one server; automatic pipelining and client-side " +
		"caching are on. `TryWithContext` or `WithContext`, which renew. Collections: 1,000 goroutines"
	usedFlushDelay = "the same with `MaxFlushDelay` of 20 µs, of which the client's reference says that it costs latency and saves processor " +
		"time; beside the other one where many goroutines share a client"
)

// rueidisLock is github.com/redis/rueidis/rueidislock as its README has it for one server of 7.0.5 or later.
type rueidisLock struct {
	locker rueidislock.Locker
	at     place
}

func openRueidislock(at place) (client, error) { return newRueidislock(at, 0) }

func openFlushDelay(at place) (client, error) { return newRueidislock(at, 20*time.Microsecond) }

func newRueidislock(at place, flushDelay time.Duration) (client, error) {
	o := rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{at.addr}, MaxFlushDelay: flushDelay},
		KeyMajority:    1,
		NoLoopTracking: true,
		KeyValidity:    at.lease(),
		TryNextAfter:   time.Second, // with a single key there is no next one; 20 ms are not enough for a thousand calls at once
	}
	if at.small {
		o.ClientOption.RingScaleEachConn = 4
		o.ClientOption.ReadBufferEachConn, o.ClientOption.WriteBufferEachConn = 4096, 4096
	}
	l, err := rueidislock.NewLocker(o)
	return rueidisLock{l, at}, err
}

func (r rueidisLock) close() { r.locker.Close() }

func (r rueidisLock) try(ctx context.Context, key string) (release, error) {
	_, cancel, err := r.locker.TryWithContext(ctx, key)
	return released(cancel), err
}

func (r rueidisLock) wait(ctx context.Context, key string) (release, error) {
	_, cancel, err := r.locker.WithContext(ctx, key)
	return released(cancel), err
}

func released(cancel context.CancelFunc) release {
	return func(context.Context) error {
		cancel()
		return nil
	}
}

// The client sends what many goroutines ask for in one pipeline, so all of them ask at once.
func (r rueidisLock) collection(ctx context.Context, keys []string) error {
	return oneByOne(ctx, r, keys, len(keys))
}

func (r rueidisLock) abandon(ctx context.Context, key string, ttl time.Duration) error {
	c := r.locker.Client()
	return c.Do(ctx, c.B().Set().Key("rueidislock:0:"+key).Value(owner).Px(ttl).Build()).Error()
}
