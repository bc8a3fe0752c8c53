package lock

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// A stray is a claim that may be granted without its caller's knowing: because
// the caller has left, or because a send was not answered and another one was.
type stray struct {
	place, resource, nonce string
	real                   string        // fence of the grant that did reach its caller, or ""
	lease                  time.Duration // after which it is over by itself
}

// giveBack releases what strays of one shard were granted, at once, and again
// when no send of theirs can be executed any more: after ghost, in ms of Redis
// time. It returns at once; Close waits for it. The channel is closed when it has
// been tried for the first time.
func (l *Locker) giveBack(shard int, strays []stray, ghost int64) <-chan struct{} {
	first := make(chan struct{})
	if !l.chores.start(func() {
		given := l.depart(shard, "", strays, 0)
		close(first)
		if given && ghost > 0 {
			l.depart(shard, "", strays, ghost)
		}
	}) {
		close(first)
	}
	return first
}

// depart takes waiter ("" for none) out of the queues at the strays' places and
// gives the strays back, once guard has passed. While Redis is out of reach it
// tries again, until the leases are over. It returns whether it makes sense to go on.
func (l *Locker) depart(shard int, waiter string, strays []stray, guard int64) bool {
	began := l.now()
	lease := slices.MaxFunc(strays, func(a, b stray) int { return cmp.Compare(a.lease, b.lease) }).lease
	pause := newPause()
	for len(strays) > 0 {
		part := strays[:min(chunk, len(strays))]
		if l.now()-began > 2*sendTime {
			guard = 0 // only a server clock that was set back makes it last so long
		}
		c := &call{script: leaveScript, shard: shard, once: true, args: make([]any, 0, 1+5*len(part))}
		c.args = append(c.args, waiter)
		for _, s := range part {
			c.args = append(c.args, s.place, s.resource, s.nonce, s.real, guard)
		}
		l.execUntil(context.Background(), l.dead, []*call{c})
		switch {
		case c.state.Load() == callLeft:
			return false
		case errors.Is(c.err, ErrUnavailable) && (lease == NoExpiry || l.now()-began < lease):
			if !l.sleep(pause.NextBackOff()) {
				return false
			}
		case c.err != nil:
			l.cfg.Logger.Warn("lock: a claim whose caller has left could not be given back; it ends with its lease",
				zap.String("resource", part[0].resource), zap.Int("claims", len(part)), zap.Error(c.err))
			return false
		case c.str(2) == "wait":
			if !l.sleep(min(time.Duration(guard-c.stamp/1000+1)*time.Millisecond, sendTime)) {
				return false
			}
		default:
			strays = strays[len(part):]
		}
	}
	return true
}
