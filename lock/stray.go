package lock

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// A stray is a claim that may be granted without its caller's knowing: because
// the caller has left, or because a send was not answered and another one was.
type stray struct {
	place, resource, nonce string
	real                   string // fence of the grant that did reach its caller, or ""
}

// giveBack releases what strays of one shard were granted, at once, and again
// when no send of theirs can be executed any more: after ghost, in ms of Redis
// time. It returns at once; Close waits for it.
func (l *Locker) giveBack(shard int, strays []stray, ghost int64) {
	l.chores.start(func() {
		if !l.depart(shard, "", strays, 0) {
			return
		}
		if ghost > 0 {
			l.depart(shard, "", strays, ghost)
		}
	})
}

// depart takes waiter ("" for none) out of the queues at the strays' places and
// gives the strays back, once guard has passed.
func (l *Locker) depart(shard int, waiter string, strays []stray, guard int64) bool {
	for len(strays) > 0 {
		part := strays[:min(chunk, len(strays))]
		strays = strays[len(part):]
		for {
			c := &call{script: leaveScript, shard: shard, args: make([]any, 0, 1+5*len(part))}
			c.args = append(c.args, waiter)
			for _, s := range part {
				c.args = append(c.args, s.place, s.resource, s.nonce, s.real, guard)
			}
			l.execUntil(context.Background(), l.dead, []*call{c})
			if c.state.Load() == callLeft {
				return false
			}
			if c.err != nil {
				l.cfg.Logger.Warn("lock: a claim whose caller has left could not be given back; it ends with its lease",
					zap.String("resource", part[0].resource), zap.Int("claims", len(part)), zap.Error(c.err))
				return false
			}
			if c.str(2) != "wait" {
				break
			}
			if !l.sleep(time.Duration(guard-c.stamp/1000+1) * time.Millisecond) {
				return false
			}
		}
	}
	return true
}
