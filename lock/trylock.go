package lock

import (
	"context"
	"fmt"
	"time"
)

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
	l.execBatches(ctx, batches)
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

// lockBatches makes the calls for the valid claims: by shard, by lease time
// unless it is all or none, and by chunk.
func (l *Locker) lockBatches(rs Results, mode string) []*batch {
	most := chunk
	if mode == "all" {
		most = MaxAll
	}
	batches := l.batches(rs, most, func(r *Result) kind {
		if mode == "all" {
			return kind{}
		}
		return kind{lease: r.lease}
	})
	for _, b := range batches {
		shared := ""
		if mode != "all" {
			shared = millis(b.kind.lease)
		}
		b.call = &call{script: lockScript, shard: b.kind.shard, once: true, args: []any{mode, shared}, names: b.names(rs), texts: b.tails(rs)}
		if mode == "each" {
			b.call.kin = "lock"
		}
		b.call.orphan = func(c *call) {
			if c.mayHaveGranted() {
				l.giveBack(c.shard, lockStrays(c, nil), c.ghost)
			}
		}
	}
	return batches
}

// tails writes the parts of the entries that the client knows, each with a
// nonce of its own.
func (b *batch) tails(rs Results) []string {
	size := 0
	for _, i := range b.index {
		size += tailHead + len(rs[i].Owner)
	}
	buffer, ends := make([]byte, 0, size), make([]int, len(b.index))
	lease, last := "", time.Duration(-1)
	for n, i := range b.index {
		if rs[i].lease != last {
			lease, last = millis(rs[i].lease), rs[i].lease
		}
		buffer = appendTail(buffer, n, lease, rs[i].Owner)
		ends[n] = len(buffer)
	}
	return split(string(buffer), ends)
}

// split cuts s at ends.
func split(s string, ends []int) []string {
	parts := make([]string, len(ends))
	from := 0
	for n, end := range ends {
		parts[n] = s[from:end]
		from = end
	}
	return parts
}

// lockStrays makes strays of a lock call's claims; fences are those of grants
// that reached their caller, by position.
func lockStrays(c *call, fences []int64) []stray {
	strays := make([]stray, len(c.names))
	for n, resource := range c.names {
		strays[n] = stray{place: plainPlace(resource), resource: resource, nonce: c.texts[n][3:14], lease: leaseIn(c.texts[n])}
		if fences != nil && fences[n] != 0 {
			strays[n].real = fenceText(fences[n])
		}
	}
	return strays
}

// settleLocks reads the answer to a batch into the results.
func (l *Locker) settleLocks(ctx context.Context, b *batch, rs Results) {
	c := b.call
	if err := l.outcome(ctx, c); err != nil {
		for _, i := range b.index {
			rs[i].Owner, rs[i].Fence, rs[i].Err = "", 0, err
		}
		if c.state.Load() == callAnswered && c.mayHaveGranted() {
			l.giveBack(c.shard, lockStrays(c, nil), c.ghost)
		}
		return
	}
	notes := notesOf(c, 3, len(b.index))
	base, ok := parseDigits(c.str(2))
	if !ok {
		base = 0
	}
	entries := b.entries(c, rs)
	var fences []int64
	if c.ghost > 0 {
		fences = make([]int64, len(b.index))
	}
	for n, i := range b.index {
		r := &rs[i]
		if note, noted := notes.of(n); noted {
			r.readLock(c, note, c.texts[n][3:14])
		} else {
			r.entry, r.Fence, r.TTL = entries[n], base*1000+position(c.texts[n]), r.lease
			r.deadline = deadlineOf(c.sent, r.lease)
		}
		if fences != nil && r.Err == nil {
			fences[n] = r.Fence
		}
	}
	if c.ghost > 0 { // a send that was not answered may yet be executed
		l.giveBack(c.shard, lockStrays(c, fences), c.ghost)
	}
}

// entries writes what the script wrote for those that it granted.
func (b *batch) entries(c *call, rs Results) []string {
	size := 0
	for n := range b.index {
		size += lockHead - tailHead + len(c.texts[n])
	}
	buffer, ends := make([]byte, 0, size), make([]int, len(b.index))
	head, last := "", time.Duration(-1)
	for n, i := range b.index {
		if rs[i].lease != last {
			head, last = "L"+expiryText(c.stamp, rs[i].lease)+c.str(2), rs[i].lease
		}
		buffer = append(append(buffer, head...), c.texts[n]...)
		ends[n] = len(buffer)
	}
	return split(string(buffer), ends)
}

// readLock reads the entry that the script noted for a claim with this nonce.
func (r *Result) readLock(c *call, note, nonce string) {
	e, ok := parseEntry(note)
	switch {
	case note == "-":
		r.Owner, r.Err = "", ErrAborted
	case !ok:
		r.Owner, r.Err = "", fmt.Errorf("%w: lock %q", ErrCorruptState, r.Resource)
	case e.offered || e.nonce != nonce:
		r.refuse(e, c.stamp)
	default:
		r.entry = note
		r.grant(e, c)
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
