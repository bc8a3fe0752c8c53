package lock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// judgeError decides what to do after a send that failed. Errors that Redis
// itself answered mean that the script was not executed.
func (l *Locker) judgeError(c *call, err error) verdict {
	c.err = err
	c.trouble.Store(&err)
	var answer redis.Error
	if !errors.As(err, &answer) {
		if errors.Is(err, redis.ErrClosed) {
			return verdictFinal
		}
		var op *net.OpError
		if errors.Is(err, redis.ErrPoolTimeout) || errors.As(err, &op) && op.Op == "dial" {
			return verdictWait // it was not sent
		}
		c.unanswered = true
		if c.dated {
			ms, _ := l.shards[c.shard].clock.redis(c.began)
			c.args[0] = max(ms, 0)*1000 + 1 // if the clock is not known, every grant is later
		}
		c.ghost = max(c.ghost, c.limit)
		return verdictWait
	}
	text := err.Error()
	has := func(words ...string) bool { return mentions(text, words...) }
	_, cluster := l.rdb.(*redis.ClusterClient)
	switch {
	case has("NOSCRIPT"):
		c.load = true
		return verdictAgain
	case has("MOVED", "ASK") && cluster && !c.redirect:
		c.redirect = true
		return verdictAgain
	case has("TRYAGAIN") || strings.Contains(text, "non local key"):
		if c.local != nil && !c.script.local {
			c.script, c.args, c.load, c.redirect = renewScript, c.local(), false, true
			return verdictAgain
		}
		return verdictWait
	case has("MOVED", "ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "BUSY", "READONLY"):
		c.redirect = false
		return verdictWait
	case has("WRONGTYPE"):
		c.err = fmt.Errorf("%w: %w", ErrCorruptState, err)
		return verdictFinal
	case refusesWrites(text), strings.Contains(text, "max number of clients"):
		c.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		return verdictFinal
	default:
		// No rights, wrong password, a server that is too old …
		c.broken = true
		c.err = fmt.Errorf("lock: script %s: %w", c.script.name, l.explain(err))
		return verdictFinal
	}
}

// refusesWrites tells whether it is an error of a Redis that only reads for now.
func refusesWrites(text string) bool { return mentions(text, "OOM", "NOREPLICAS", "MISCONF") }

// mentions tells whether an error of Redis has one of the words in front, or quotes
// an error that has: of what a script called.
func mentions(text string, words ...string) bool {
	for _, w := range words {
		if strings.HasPrefix(text, w) || strings.Contains(text, " "+w+" ") || strings.Contains(text, " -"+w+" ") {
			return true
		}
	}
	return false
}

// initShard gives a shard its number of shards, after it checked the
// namespace's one global record; unless a right is missing that the Locker will
// need: then it writes nothing.
func (l *Locker) initShard(i int) error {
	ctx, cancel := context.WithTimeout(l.dead, sendTime)
	defer cancel()
	key := globalKey(l.cfg.Namespace)
	want := strconv.Itoa(l.cfg.Shards)
	if err := l.permitted(ctx, i); err != nil {
		return l.plainError(err)
	}
	if err := l.rdb.SetNX(ctx, key, want, 0).Err(); err != nil {
		return l.plainError(err)
	}
	got, err := l.rdb.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) { // lost since: flushed, evicted, or a failover
		return fmt.Errorf("%w: %q was lost while it was being set up", ErrUnavailable, key)
	}
	if err != nil {
		return l.plainError(err)
	}
	if got != want {
		return fmt.Errorf("%w: Config.Shards is %s, but namespace %q has %q", ErrShardMismatch, want, l.cfg.Namespace, got)
	}
	return l.plainError(l.rdb.HSetNX(ctx, l.shards[i].keys[metaKey], "shards", want).Err())
}

// plainError classifies the error of a command that may be repeated.
func (l *Locker) plainError(err error) error {
	if err == nil {
		return nil
	}
	probe := call{script: &script{name: "command"}}
	if l.judgeError(&probe, err) == verdictFinal {
		return probe.err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
