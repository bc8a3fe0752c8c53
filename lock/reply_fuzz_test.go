package lock_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// An oracle answers everything that a client sends with the same reply.
type oracle struct{ reply atomic.Pointer[any] }

// A refusal is an error that Redis answered.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func (o *oracle) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *oracle) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, c redis.Cmder) error { return o.answer(c) }
}

func (o *oracle) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) (err error) {
		for _, c := range cmds {
			err = o.answer(c)
		}
		return err
	}
}

func (o *oracle) answer(c redis.Cmder) error {
	reply := *o.reply.Load()
	if err, refused := reply.(refusal); refused {
		c.SetErr(err)
		return err
	}
	if c, script := c.(interface{ SetVal(any) }); script {
		c.SetVal(reply)
	}
	return nil
}

// FuzzReplies answers every call with anything: no call panics, none outlives its
// context.
func FuzzReplies(f *testing.F) {
	const stamp, fence, entry = "1795000000000000", "1795000000000000000", "L01795000030000" + "1795000000000000000" + "AbCdEfGhI-_" + "00000000030000" + "me"
	offer := "O01795000001000f0001rp0000" + stamp + "AbCdEfGhI-_"
	record := "Jr00000000000000 1 3 00000000060000 00000000030000 1 " + fence + " AbCdEfGhI-_ 1795000000000 0 - 2 0 me"
	for _, reply := range []string{
		"", "ok", "ok|", "ok|x", "ok|" + stamp, "ok|" + stamp + "|" + stamp, "ok|" + stamp + "|" + stamp + "G", "ok|" + stamp + "|0|G",
		"ok|" + stamp + "|" + stamp + "|1|" + entry, "ok|" + stamp + "|" + stamp + "|1|" + offer, "ok|" + stamp + "|" + stamp + "|99|-|0|x|-1|?",
		"ok|" + stamp + "|1|" + entry + "|1|", "ok|" + stamp + "|granted|" + entry + "|" + record + "|0", "ok|" + stamp + "|held|" + offer + "|" + record + "|7",
		"ok|" + stamp + "|early|" + entry + "|" + record + "|0", "ok|" + stamp + "|done||" + record + "|0", "ok|" + stamp + "|used|" + entry + "||x",
		"ok|" + stamp + "|settled|" + record, "ok|" + stamp + "|" + entry + "|" + record + "|3", "ok|" + stamp + "|0|r|" + entry + "|0001rj0000|" + record + "|" + entry,
		"ok|" + stamp + "|reset|", "ok|" + stamp + "|99999999999999999999|1", "new|" + stamp, "late|" + stamp, "shards|" + stamp + "|2", "corrupt|" + stamp, "late|-1", "ok|99999999999999999999",
	} {
		f.Add(reply, false)
	}
	for _, text := range []string{
		"", "ERR", "NOSCRIPT No matching script.", "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "MOVED", "MOVED x", "TRYAGAIN", "CLUSTERDOWN Hash slot not served",
		"ERR Script attempted to access a non local key in a cluster node", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "WRONGTYPE", "OOM command not allowed",
		"NOREPLICAS", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM this user has no permissions to run the 'x' command", "ERR The user executing the script can't run this command or subcommand",
		"ERR Error running script (call to f_x): @user_script:1: -OOM command not allowed", "ERR max number of clients reached", "\x00\xff", "%s%d",
	} {
		f.Add(text, true)
	}
	o := new(oracle)
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Millisecond})
	rdb.AddHook(o)
	f.Cleanup(func() { _ = rdb.Close() })
	l, err := lock.New(rdb, lock.Config{TTL: lock.MinTTL}) // so long strays are given back
	wantErr(f, err, nil)
	f.Cleanup(func() { _ = l.Close() })
	var nothing any
	o.reply.Store(&nothing)
	f.Fuzz(func(t *testing.T, text string, refused bool) {
		var reply any
		if refused {
			reply = refusal(text)
		} else {
			var parts []any
			for _, part := range strings.Split(text, "|") {
				parts = append(parts, part)
			}
			if strings.HasPrefix(text, "int") { // of another type
				parts = append(parts, int64(len(text)), nil, []any{"x"})
			}
			reply = parts
		}
		o.reply.Store(&reply)
		for _, call := range all() {
			if call.name == "Watch" { // needs a connection
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
			began := time.Now()
			_ = call.call(ctx, l)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s answered with %q returned after %v", call.name, text, took)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
		defer cancel()
		_, _ = l.TryLock(ctx, lock.Claims("me", many...)...) // a group
	})
}
