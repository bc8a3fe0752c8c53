package lock

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestWhatNeedsNoReplicasDoesNotWaitForThem: with Config.Replicas it does not travel
// with calls that ask them; and without, nobody asks.
func TestWhatNeedsNoReplicasDoesNotWaitForThem(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = rdb.Close() })
	for replicas := range 2 {
		l, err := New(rdb, Config{Replicas: replicas})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		for _, s := range []*script{lockScript, claimScript, pickScript, extendScript, settleScript, unlockScript, ownersScript, getScript} {
			c := &call{script: s, kin: "kin", args: []any{"", "", "", "", "", "", ""}}
			f := l.admit(rdb, []*call{c})
			if lasting := s.lasting(); (f.gate != nil) != (replicas == 0 || lasting) {
				t.Errorf("with %d replicas %s goes through the gate: %v", replicas, s.name, f.gate != nil)
			} else if asks := l.confirmation(f) != nil; asks != (replicas > 0 && lasting) {
				t.Errorf("with %d replicas %s asks them: %v", replicas, s.name, asks)
			}
			f.pass()
		}
	}
}

// TestClaimThatOnlyAsksForTheTimeAsksNoReplicas: it is not executed.
func TestClaimThatOnlyAsksForTheTimeAsksNoReplicas(t *testing.T) {
	t.Parallel()
	l := &Locker{cfg: Config{Replicas: 1}, shards: newShards("ns", 1), readTimeout: sendTime}
	first, later, renewal := &call{script: lockScript, once: true}, &call{script: lockScript, once: true, limit: 1}, &call{script: extendScript}
	for _, c := range []struct {
		calls []*call
		asks  bool
	}{{[]*call{first}, false}, {[]*call{later}, true}, {[]*call{renewal}, true}, {[]*call{first, later}, true}} {
		if got := l.confirmation(&flight{l: l, calls: c.calls}) != nil; got != c.asks {
			t.Errorf("%+v asks: %v", c.calls, got)
		}
	}
}

// TestConfirmationsAreRead: what a lost answer means, and what a missing right.
func TestConfirmationsAreRead(t *testing.T) {
	t.Parallel()
	l := &Locker{cfg: Config{Replicas: 2}}
	answered := func(mark error, acks int64, wait error) *confirmation {
		marked := scriptCmd{new(redis.Cmd)}
		marked.SetErr(mark)
		n := &confirmation{marks: map[int]scriptCmd{0: marked}, wait: scriptCmd{new(redis.Cmd)}}
		n.wait.SetVal(acks)
		n.wait.SetErr(wait)
		return n
	}
	broken := errors.New("EOF")
	for name, c := range map[string]struct {
		of                       *confirmation
		short, unavailable, lost bool
	}{
		"nothing was asked":      {nil, false, false, false},
		"enough":                 {answered(nil, 2, nil), false, false, false},
		"more":                   {answered(nil, 3, nil), false, false, false},
		"too few":                {answered(nil, 1, nil), true, true, false},
		"no right to wait":       {answered(nil, 0, refusal("NOPERM this user has no permissions to run the 'wait' command")), true, false, false},
		"no such command":        {answered(nil, 0, refusal("ERR unknown command 'wait'")), true, false, false},
		"the primary is none":    {answered(nil, 0, refusal("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")), false, false, true},
		"the connection is cut":  {answered(nil, 0, broken), false, false, true},
		"after the script":       {answered(broken, 0, broken), false, false, true},
		"nothing was marked":     {answered(redis.Nil, 2, nil), false, false, true},
		"nothing may be written": {answered(refusal("OOM command not allowed when used memory > 'maxmemory'."), 2, nil), true, true, false},
		"the slot has moved":     {answered(refusal("MOVED 1 127.0.0.1:1"), 2, nil), false, false, true},
	} {
		short, lost := c.of.result(l, &call{script: claimScript})
		if (short != nil) != c.short || (lost != nil) != c.lost || errors.Is(short, ErrUnavailable) != c.unavailable || short != nil && !errors.Is(short, ErrNotReplicated) {
			t.Errorf("%s: %v, %v", name, short, lost)
		}
		var answer redis.Error
		if errors.As(lost, &answer) {
			t.Errorf("%s: %v would say that the script was not executed", name, lost)
		}
	}
}

// A refusal is an error that Redis answers.
type refusal string

func (r refusal) Error() string { return string(r) }
func (r refusal) RedisError()   {}
