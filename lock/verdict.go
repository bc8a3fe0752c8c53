package lock

import (
	"context"
	"fmt"
	"time"
)

// A verdict says what becomes of a call after one send.
type verdict uint8

const (
	verdictFinal verdict = iota // finished, with or without error
	verdictAgain                // send again at once
	verdictWait                 // send again after a pause
)

// read gives the calls of a bundle the reply that came to one send.
func (l *Locker) read(b *bundle, reply []any, sent, received time.Duration) {
	b.share(reply)
	first := b.calls[0]
	stamp, ok := parseDigits(first.str(1))
	if ok && stamp/1000 < neverMillis/2 {
		l.shards[first.shard].clock.learn(sent, received, stamp)
	} else {
		stamp = 0
	}
	for _, c := range b.calls {
		c.sent, c.stamp = sent, stamp
	}
}

// judge looks at the reply to one send of c.
func (l *Locker) judge(c *call) verdict {
	if c.stamp == 0 {
		c.err = fmt.Errorf("%w: reply without time", ErrCorruptState)
		return verdictFinal
	}
	switch status := c.str(0); status {
	case "ok":
		c.err = nil
		return verdictFinal
	case "late":
		c.err = fmt.Errorf("executed too late: %w", context.DeadlineExceeded)
		if c.late++; c.late > 3 {
			return verdictWait
		}
		return verdictAgain
	case "new":
		c.fresh = true
		return verdictAgain
	case "shards":
		c.err = fmt.Errorf("%w: Config.Shards is %d, but namespace %q has %q", ErrShardMismatch, l.cfg.Shards, l.cfg.Namespace, c.str(2))
		return verdictFinal
	default:
		c.err = fmt.Errorf("%w: %s", ErrCorruptState, l.shards[c.shard].keys[metaKey])
		return verdictFinal
	}
}
