package lock

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed mark.lua
var markLua string

// lasting tells whether replicas must acknowledge what a script writes: grants,
// renewals and outcomes.
func (s *script) lasting() bool {
	switch s {
	case lockScript, claimScript, pickScript, extendScript, renewScript, settleScript:
		return true
	default:
		return false
	}
}

// A confirmation follows the scripts of a flight in their pipeline: it asks how many
// replicas have what they wrote. WAIT speaks of the connection that it comes by, so
// one that comes by another would prove nothing.
type confirmation struct {
	marks    map[int]scriptCmd // by shard: what fails one of them says nothing of the others
	wait     scriptCmd
	patience time.Duration // of WAIT
}

// confirmation returns what confirms a flight whose commands are built; nil if
// nothing needs to be.
func (l *Locker) confirmation(f *flight) *confirmation {
	first := f.calls[0] // the others are of the same kind
	if l.cfg.Replicas == 0 || !first.script.lasting() {
		return nil
	}
	most, writes := time.Duration(0), false
	for _, c := range f.calls {
		most = max(most, c.until-f.sent)
		writes = writes || !c.once || c.limit != 0 // otherwise it only asks for the time
	}
	if !writes {
		return nil
	}
	n := &confirmation{marks: make(map[int]scriptCmd), patience: max(min(f.bound(), most, l.readTimeout)/2, time.Millisecond)}
	for _, c := range f.calls {
		if _, has := n.marks[c.shard]; has {
			continue
		}
		s := &l.shards[c.shard]
		mark := []any{"eval", markLua, "1", s.keys[metaKey], "shards"}
		if c.script.local {
			mark = []any{"eval", markLua, "1", s.keys[locksKey]}
			for i := 1; i < len(c.args); i += 2 {
				mark = append(mark, c.args[i])
			}
		}
		n.marks[c.shard] = scriptCmd{redis.NewCmd(context.Background(), mark...)}
	}
	n.wait = scriptCmd{redis.NewCmd(context.Background(), "wait", strconv.Itoa(l.cfg.Replicas), strconv.FormatInt(n.patience.Milliseconds(), 10))}
	return n
}

// readTimeout is after which time a client gives up a connection that is silent.
func readTimeout(rdb redis.UniversalClient) time.Duration {
	d := sendTime
	switch c := rdb.(type) {
	case *redis.Client:
		d = c.Options().ReadTimeout
	case *redis.ClusterClient:
		d = c.Options().ReadTimeout
	}
	if d <= 0 {
		d = sendTime
	}
	return d
}

// send sends the flight's scripts to a node, and what confirms them behind; where a
// slot is on its way it follows. The cluster client's own way of following is for
// single commands.
func (n *confirmation) send(ctx context.Context, node redis.UniversalClient, f *flight) {
	asking, follow := false, f.calls[0].redirect
	for range 3 {
		n.sendTo(ctx, node, f, asking)
		word, addr := redirection(f.bundles[0].cmd.Err())
		if word == "" || !follow || f.landed.Load() {
			return
		}
		if node = f.l.nodeAt(ctx, addr); node == nil {
			return // it has no slot yet: the call waits until it has
		}
		asking = word == "ASK"
	}
}

// sendTo sends all to a node. asking is for a slot that it is about to get.
func (n *confirmation) sendTo(ctx context.Context, node redis.UniversalClient, f *flight, asking bool) {
	pipe := node.Pipeline()
	process := func(cmd redis.Cmder) {
		if asking {
			_ = pipe.Process(ctx, scriptCmd{redis.NewCmd(ctx, "asking")})
		}
		_ = pipe.Process(ctx, cmd)
	}
	for _, b := range f.bundles {
		process(b.cmd)
	}
	for _, mark := range n.marks {
		process(mark)
	}
	_ = pipe.Process(ctx, n.wait)
	_, _ = pipe.Exec(ctx) // each command has its own error
}

// redirection reads MOVED slot host:port, and ASK.
func redirection(err error) (word, addr string) {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return "", ""
	}
	words := strings.Fields(answer.Error())
	if len(words) != 3 || words[0] != "MOVED" && words[0] != "ASK" {
		return "", ""
	}
	addr = words[2]
	if at := strings.LastIndexByte(addr, ':'); at >= 0 { // of IPv6, too, without brackets
		addr = net.JoinHostPort(strings.Trim(addr[:at], "[]"), addr[at+1:])
	}
	return words[0], addr
}

// nodeAt returns the client of a cluster's master; nil for none.
func (l *Locker) nodeAt(ctx context.Context, addr string) redis.UniversalClient {
	cluster, ok := l.rdb.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	found := make(chan *redis.Client, 1)
	_ = cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		if node.Options().Addr == addr {
			found <- node // it is one
		}
		return nil
	})
	select {
	case node := <-found:
		return node
	default:
		return nil
	}
}

// result tells what came of the confirmation of a call: short why its script's writes
// count as not replicated; lost, that nothing is known, so that it must be sent again.
func (n *confirmation) result(l *Locker, c *call) (short, lost error) {
	if n == nil {
		return nil, nil
	}
	acks, err := int64(0), n.marks[c.shard].Err()
	if err == nil || errors.Is(err, redis.Nil) && c.script.local { // nothing was there to mark, nor to renew
		acks, err = n.wait.Int64()
	}
	switch {
	case err == nil && acks >= int64(l.cfg.Replicas):
		return nil, nil
	case err == nil:
		return fmt.Errorf("%w: %w: %d of %d replicas within %v", ErrNotReplicated, ErrUnavailable, acks, l.cfg.Replicas, n.patience), nil
	case isDenial(err), strings.HasPrefix(err.Error(), "ERR unknown command"):
		return fmt.Errorf("%w: %w", ErrNotReplicated, err), nil
	case refusesWrites(err.Error()): // of all writes: what the script told was read
		return fmt.Errorf("%w: %w: %w", ErrNotReplicated, ErrUnavailable, err), nil
	default: // without its kind: it says nothing of the scripts
		return nil, fmt.Errorf("whether replicas have it could not be told: %s", err.Error())
	}
}

// unconfirm makes a grant or a renewal that was not replicated one that did not succeed.
func (r *Result) unconfirm(err error) {
	*r = Result{Resource: r.Resource, Err: err}
}

// awaitReleases waits until grants have been given back, so that their caller finds
// them free; not longer than it would for a send.
func (l *Locker) awaitReleases(ctx context.Context, released ...<-chan struct{}) {
	over := time.NewTimer(sendTime)
	defer over.Stop()
	for _, r := range released {
		select {
		case <-r:
		case <-ctx.Done():
			return
		case <-l.closing.Done():
			return
		case <-over.C:
			return
		}
	}
}
