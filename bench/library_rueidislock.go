package main

import (
	"context"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

// rueidisLock is github.com/redis/rueidis/rueidislock as its README has it for one server of 7.0.5 or later.
type rueidisLock struct {
	locker rueidislock.Locker
	at     place
}

func openRueidislock(at place) (client, error) {
	o := rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{at.addr}},
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
