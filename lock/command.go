package lock

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A scriptCmd is a command that go-redis must not send again by itself.
type scriptCmd struct{ *redis.Cmd }

// NoRetry tells go-redis so.
func (scriptCmd) NoRetry() bool { return true }

// command builds what is sent for a bundle, with the script's source if source is
// true. limit is until when this send may be executed.
func (l *Locker) command(b *bundle, limit time.Duration, source bool) scriptCmd {
	first := b.calls[0]
	s := &l.shards[first.shard]
	args := make([]any, 0, b.size()+15)
	if source {
		args = append(args, "eval", first.script.source)
	} else {
		args = append(args, "evalsha", first.script.sha)
	}
	if first.script.local {
		args = append(args, "1", s.keys[locksKey])
		return scriptCmd{redis.NewCmd(context.Background(), append(args, first.args...)...)}
	}
	args = append(args, s.front...)
	args = append(args, l.notAfter(b, limit), offerMillis, l.publish)
	return scriptCmd{redis.NewCmd(context.Background(), b.args(args)...)}
}

var offerMillis any = strconv.FormatInt(int64(offerTime/time.Millisecond), 10)

// notAfter returns the time after which this send must not be executed, and
// notes it. While the server's clock is not known it is long past: the script
// then only tells the time.
func (l *Locker) notAfter(b *bundle, limit time.Duration) string {
	if !b.calls[0].once {
		return "0"
	}
	for _, c := range b.calls {
		limit = min(limit, c.until)
	}
	at, known := l.shards[b.calls[0].shard].clock.redis(limit)
	if !known {
		return "1"
	}
	for _, c := range b.calls {
		c.limit = at
	}
	return strconv.FormatInt(at, 10)
}
