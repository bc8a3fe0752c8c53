package lock

import (
	"context"
	"fmt"
	"time"
)

// chunk is how many resources a script takes, so that none holds the server for
// longer than about a millisecond.
const chunk = 500

// TryLock locks each resource that is free, each on its own, and never waits.
// A refused one has ErrHeld, its holder and the time left; if it is free but
// others wait for it, it is handed to them. Locking what the same owner holds
// is refused too: locks are not re-entrant. A resource that is named twice is
// an error the second time. The time to live begins with the grant.
func (l *Locker) TryLock(ctx context.Context, claims ...Claim) (Results, error) {
	return l.lock(ctx, "TryLock", "each", claims)
}

// TryLockAll locks all of the resources, at most MaxAll, or none of them, in
// one step. Where it was refused, the free ones have ErrAborted. On several
// shards, as on Redis Cluster, it is ErrCrossSlot unless all happen to be in
// one; nothing is written then.
func (l *Locker) TryLockAll(ctx context.Context, claims ...Claim) (Results, error) {
	return l.lock(ctx, "TryLockAll", "all", claims)
}

// ForceLock takes each resource from whoever has it. The ousted holder's next
// renewal fails, and its fence is smaller than the new one.
func (l *Locker) ForceLock(ctx context.Context, claims ...Claim) (Results, error) {
	return l.lock(ctx, "ForceLock", "force", claims)
}

// A lockBatch is the part of a collection that goes in one call.
type lockBatch struct {
	call  *call
	index []int // positions in the collection
}

func (l *Locker) lock(ctx context.Context, op, mode string, claims []Claim) (Results, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	began := l.now()
	rs := l.accept(claims, true)
	all := mode == "all"
	if all {
		if err := l.oneCall(rs); err != nil {
			return rs.abort(op, err)
		}
	}
	batches := l.lockBatches(rs, mode)
	calls := make([]*call, len(batches))
	for i, b := range batches {
		b.call.orphan = l.orphanLocks(b.call, rs)
		calls[i] = b.call
	}
	l.exec(ctx, calls...)
	for _, b := range batches {
		l.settleLocks(ctx, b, rs)
	}
	l.observeAll(EventLock, rs, l.now()-began)
	return rs, rs.err(op)
}

// accept makes a result for each claim: with an error for one that is not
// valid, and with the lease time and the owner filled in.
func (l *Locker) accept(claims []Claim, locking bool) Results {
	rs := make(Results, len(claims))
	seen := make(map[string]struct{}, len(claims))
	for i := range claims {
		c := &claims[i]
		r := &rs[i]
		r.Resource, r.Owner, r.Fence, r.lease, r.entry = c.Resource, c.Owner, c.Fence, c.TTL, c.entry
		if r.lease == 0 {
			r.lease = l.cfg.TTL
		}
		r.Err = c.check(locking)
		if _, twice := seen[c.Resource]; twice && r.Err == nil {
			r.Err = invalid("Claim[%d].Resource %q stands twice in the call", i, c.Resource)
		}
		if r.Err != nil {
			r.Owner, r.Fence = "", 0
			continue
		}
		seen[c.Resource] = struct{}{}
	}
	return rs
}

func (c *Claim) check(locking bool) error {
	if err := checkName("Claim.Resource", c.Resource); err != nil {
		return err
	}
	if err := checkName("Claim.Owner", c.Owner); err != nil {
		return err
	}
	if c.TTL != 0 {
		if err := checkTTL("Claim.TTL", c.TTL); err != nil {
			return err
		}
	}
	if locking && c.Fence != 0 {
		return invalid("Claim.Fence %d: a lock gets its fence from Redis", c.Fence)
	}
	if c.Fence < 0 {
		return invalid("Claim.Fence %d is negative", c.Fence)
	}
	return nil
}

// oneCall tells why a set cannot be locked in one step.
func (l *Locker) oneCall(rs Results) error {
	if len(rs) > MaxAll {
		return invalid("TryLockAll of %d resources: at most %d", len(rs), MaxAll)
	}
	for i := range rs {
		if rs[i].Err != nil {
			return ErrAborted
		}
		if l.shardOf(rs[i].Resource) != l.shardOf(rs[0].Resource) {
			return ErrCrossSlot
		}
	}
	return nil
}

// abort gives every result without an error this one.
func (rs Results) abort(op string, err error) (Results, error) {
	for i := range rs {
		if rs[i].Err == nil {
			rs[i].Err = err
			rs[i].Owner, rs[i].Fence = "", 0
		}
	}
	return rs, rs.err(op)
}

// lockBatches cuts the valid claims into calls: by shard, by lease time unless
// it is all or none, and by chunk.
func (l *Locker) lockBatches(rs Results, mode string) []*lockBatch {
	type kind struct {
		shard int
		lease time.Duration
	}
	var batches []*lockBatch
	most := chunk
	if mode == "all" {
		most = MaxAll
	}
	open := make(map[kind]*lockBatch)
	for i := range rs {
		r := &rs[i]
		if r.Err != nil {
			continue
		}
		k := kind{l.shardOf(r.Resource), r.lease}
		lease := millis(r.lease)
		shared := lease
		if mode == "all" {
			k.lease, shared = 0, ""
		}
		b := open[k]
		if b == nil || len(b.index) == most {
			n := min(most, len(rs)-i)
			b = &lockBatch{
				call:  &call{script: lockScript, shard: k.shard, once: true, args: append(make([]any, 0, 2+2*n), mode, shared)},
				index: make([]int, 0, n),
			}
			open[k] = b
			batches = append(batches, b)
		}
		tail, _ := tailOf(len(b.index), lease, r.Owner)
		b.index = append(b.index, i)
		b.call.args = append(b.call.args, r.Resource, tail)
	}
	return batches
}

// orphanLocks gives back what is granted to a caller who has left.
func (l *Locker) orphanLocks(c *call, _ Results) func(*call) {
	return func(*call) {
		if c.err == nil || c.unanswered {
			l.giveBack(c.shard, straysOf(c.args[2:], nil), c.ghost)
		}
	}
}

// straysOf makes strays of the pairs of resource and tail of a call.
func straysOf(args []any, fences map[int]int64) []stray {
	strays := make([]stray, 0, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		resource, tail := args[i].(string), args[i+1].(string)
		s := stray{place: plainPlace(resource), resource: resource, nonce: tail[3:14]}
		if f, ok := fences[i/2]; ok {
			s.real = fenceText(f)
		}
		strays = append(strays, s)
	}
	return strays
}

// settleLocks reads the answer to a batch into the results.
func (l *Locker) settleLocks(ctx context.Context, b *lockBatch, rs Results) {
	c := b.call
	if err := l.outcome(ctx, c); err != nil {
		for _, i := range b.index {
			rs[i].Owner, rs[i].Fence, rs[i].Err = "", 0, err
		}
		if c.state.Load() == callAnswered && c.unanswered {
			l.giveBack(c.shard, straysOf(c.args[2:], nil), c.ghost)
		}
		return
	}
	notes := notesOf(c, 3, len(b.index))
	head := c.str(2)
	fences := make(map[int]int64)
	for n, i := range b.index {
		r := &rs[i]
		tail := c.args[3+2*n].(string)
		note, noted := notes[n]
		switch {
		case !noted:
			r.entry = "L" + expiryText(c.stamp, r.lease) + head + tail
		case note == "":
			r.Owner, r.Err = "", fmt.Errorf("%w: lock %q", ErrCorruptState, r.Resource)
			continue
		case note == "-":
			r.Owner, r.Err = "", ErrAborted
			continue
		default:
			r.entry = note
		}
		e, ok := parseEntry(r.entry)
		switch {
		case !ok:
			r.Owner, r.entry, r.Err = "", "", fmt.Errorf("%w: lock %q", ErrCorruptState, r.Resource)
		case e.offered || e.nonce != tail[3:14]:
			r.refuse(e, c.stamp)
		default:
			r.grant(e, c)
			fences[n] = e.fence
		}
	}
	if c.ghost > 0 { // a send that was not answered may yet be executed
		l.giveBack(c.shard, straysOf(c.args[2:], fences), c.ghost)
	}
}

// grant writes a grant into a result: e was found or made by c.
func (r *Result) grant(e entry, c *call) {
	r.Owner, r.Fence, r.TTL, r.Err = e.owner, e.fence, e.left(c.stamp), nil
	r.lease, r.deadline = e.lease, deadlineOf(c.sent, e.left(c.stamp))
}

// refuse writes what bars the way into a result.
func (r *Result) refuse(e entry, stamp int64) {
	r.Owner, r.Fence, r.TTL, r.Err, r.entry = e.owner, e.fence, e.left(stamp), ErrHeld, ""
}

// expiryText is what the script wrote as the end of a lease granted at stamp.
func expiryText(stamp int64, lease time.Duration) string {
	if lease == NoExpiry {
		return never
	}
	return fmt.Sprintf("%014d", stamp/1000+int64(lease/time.Millisecond))
}

// notesOf reads the pairs of index and entry from the reply on: what is noted
// about which of n inputs.
func notesOf(c *call, from, n int) map[int]string {
	notes := make(map[int]string)
	for i := from; i+1 < len(c.reply); i += 2 {
		if at, ok := parseDigits(c.str(i)); ok && at >= 1 && at <= int64(n) {
			notes[int(at)-1] = c.str(i + 1)
		}
	}
	return notes
}
