package lock_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestG5RenewalInAMigratingSlotIsForTheHolderOnly: the script that renews when the
// shard's other keys may be elsewhere extends nothing but that very grant, while
// it lasts, and touches nothing else.
func TestG5RenewalInAMigratingSlotIsForTheHolderOnly(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("renew.lua")
	wantErr(t, err, nil)
	const minute = "00000000060000"
	tests := map[string]struct {
		ttl   time.Duration
		entry func(own string) string // what stands there instead
		stale bool                    // with the fence of an earlier grant
		told  string                  // "entry" for what stands there
	}{
		"the holder":            {ttl: 10 * time.Second},
		"a stale holder":        {ttl: 10 * time.Second, stale: true, told: "entry"},
		"a lapsed holder":       {ttl: 20 * time.Millisecond, told: ""},
		"who has it for longer": {ttl: time.Hour, told: "entry"},
		"one it is offered to": {ttl: 10 * time.Second, told: "entry", entry: func(own string) string {
			return "O" + own[1:15] + "f0001rp000000000000000000000AAAAAAAAAAA"
		}},
		"a foreign value": {ttl: 10 * time.Second, told: "?", entry: func(string) string { return "foreign" }},
		"nobody's":        {ttl: 10 * time.Second, told: "", entry: func(string) string { return "" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns, rdb, ctx := s.Namespace(t), s.Client(t), bounded(t)
			l := newLocker(t, s, lock.Config{Namespace: ns})
			locks := keysOf(ns, 0)[locksAt]
			granted := must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "r", Owner: "me", TTL: tt.ttl}))[0]
			own := rdb.HGet(ctx, locks, "r").Val()
			if tt.ttl < time.Second {
				eventually(t, "the lease is over", func() bool { return must[lock.Results](t)(l.Owners(ctx, "r"))[0].Owner == "" })
			}
			fence := granted.Fence
			if tt.stale {
				fence--
			}
			if tt.entry != nil {
				if instead := tt.entry(own); instead == "" {
					wantErr(t, rdb.HDel(ctx, locks, "r").Err(), nil)
				} else {
					wantErr(t, rdb.HSet(ctx, locks, "r", instead).Err(), nil)
				}
			}
			before := snapshot(t, rdb, ns)
			entry := rdb.HGet(ctx, locks, "r").Val()
			reply := must[[]any](t)(rdb.Eval(ctx, string(source), []string{locks}, minute, "r", fmt.Sprintf("%019d", fence)).Slice())
			if name == "the holder" {
				left := must[lock.Results](t)(l.Owners(ctx, "r"))[0]
				if len(reply) != 2 || left.Fence != granted.Fence || left.TTL < 50*time.Second {
					t.Errorf("told %q, and the lock is %+v", reply, left)
				}
				return
			}
			told := tt.told
			if told == "entry" {
				told = entry
			}
			if len(reply) != 4 || reply[2] != "1" || reply[3] != told {
				t.Errorf("told %q, want %q", reply, told)
			}
			if after := snapshot(t, rdb, ns); after != before {
				t.Errorf("it has changed\n%s\nto\n%s", before, after)
			}
		})
	}
}
