package lock

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strconv"
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

func (l *Locker) lock(ctx context.Context, op, mode string, claims []Claim) (rs Results, err error) {
	ctx, end := l.trace(ctx, op, len(claims))
	defer func() { end(rs, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	began := l.now()
	rs = l.accept(claims, true)
	all := mode == "all"
	if all {
		if err := l.oneCall(rs); err != nil {
			return rs.abort(op, err)
		}
	}
	batches := l.lockBatches(rs, mode)
	l.execBatches(ctx, batches)
	var released []<-chan struct{}
	for _, b := range batches {
		if r := l.settleLocks(ctx, b, rs); r != nil {
			released = append(released, r)
		}
	}
	if released != nil {
		l.awaitReleases(ctx, released...)
	}
	l.observeAll(EventLock, rs, l.now()-began)
	return rs, rs.err(op)
}

// accept makes a result for each claim: with an error for one that is not
// valid, and with the lease time and the owner filled in.
func (l *Locker) accept(claims []Claim, locking bool) Results {
	rs := make(Results, len(claims))
	seen := newNames(rs)
	for i := range claims {
		c := &claims[i]
		r := &rs[i]
		r.Resource, r.lease = c.Resource, c.TTL
		if r.lease == 0 {
			r.lease = l.cfg.TTL
		}
		r.Err = c.check(locking)
		if r.Err == nil && !seen.add(i) {
			r.Err = invalid("Claim[%d].Resource %q stands twice in the call", i, c.Resource)
		}
		if r.Err == nil {
			r.Owner, r.Fence, r.entry, r.set = c.Owner, c.Fence, c.entry, c.set
		}
	}
	return rs
}

// Names tells which resource stands twice in a collection.
type names struct {
	rs    Results
	seed  maphash.Seed
	slots []int32 // 1 + the index of a result, where the hash of its name says or behind that
}

func newNames(rs Results) names {
	ns := names{rs: rs}
	if len(rs) > 1 {
		ns.seed = maphash.MakeSeed()
		ns.slots = make([]int32, 1<<bits.Len(uint(2*len(rs))))
	}
	return ns
}

// add takes the i-th resource; false if it was there before.
func (ns *names) add(i int) bool {
	if len(ns.slots) == 0 {
		return true
	}
	name, mask := ns.rs[i].Resource, uint64(len(ns.slots)-1)
	at := maphash.String(ns.seed, name) & mask
	for ; ns.slots[at] != 0; at = (at + 1) & mask {
		if ns.rs[ns.slots[at]-1].Resource == name {
			return false
		}
	}
	ns.slots[at] = int32(i) + 1
	return true
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
		b.call = l.lockCall(b, rs, mode)
	}
	return batches
}

// lockCall makes a batch's call. Those of a collection do not travel with others:
// what all of its claims have in common is sent once, and they may be a group.
func (l *Locker) lockCall(b *batch, rs Results, mode string) *call {
	c := &call{script: lockScript, shard: b.kind.shard, once: true, names: b.names(rs)}
	shared, index, count := "", single, ""
	lease, sameLease, sameOwner := b.common(rs)
	collection := mode == "all" || len(rs) > gateSize
	if !collection && mode == "each" {
		c.kin = "lock"
	}
	if c.kin != "" && sameLease && lease == l.cfg.TTL {
		c.args = l.plain
	} else {
		if sameLease {
			shared = millis(lease)
		}
		if collection && sameLease {
			index = indexOf(c.names, lease)
			if sameOwner {
				count = strconv.Itoa(len(c.names))
				c.texts = newRests(len(c.names), shared, rs[b.index[0]].Owner)
			}
		}
		c.args = []any{mode, shared, index, count}
	}
	if c.texts == nil {
		c.texts = b.tails(rs)
	}
	c.orphan = func(c *call) {
		if c.mayHaveGranted() {
			l.giveBack(c.shard, lockStrays(c, nil), c.ghost)
		}
	}
	return c
}

// common tells the lease time of a batch's claims, and whether it and the owner
// are the same for all.
func (b *batch) common(rs Results) (lease time.Duration, leases, owners bool) {
	first := &rs[b.index[0]]
	leases, owners = true, true
	for _, i := range b.index {
		leases = leases && rs[i].lease == first.lease
		owners = owners && rs[i].Owner == first.Owner
	}
	return first.lease, leases, owners
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
		tail := c.lockTail(n)
		strays[n] = stray{place: plainPlace(resource), resource: resource, nonce: nonceIn(tail), lease: leaseIn(tail)}
		if fences != nil && fences[n] != 0 {
			strays[n].real = fenceText(fences[n])
		}
	}
	return strays
}

// lockTail returns what a lock call sent for its n-th resource, from the nonce on.
func (c *call) lockTail(n int) string {
	if c.rests() {
		return c.texts[n%len(c.texts)]
	}
	return c.texts[n][3:]
}

// rests tells whether the texts of a lock call are a few for all of its resources,
// and have no positions.
func (c *call) rests() bool { return c.args[3] != "" }

// settleLocks reads the answer to a batch into the results. Where grants were not
// replicated it returns when they are given back.
func (l *Locker) settleLocks(ctx context.Context, b *batch, rs Results) (released <-chan struct{}) {
	c := b.call
	if err := l.outcome(ctx, c); err != nil {
		for _, i := range b.index {
			rs[i].Owner, rs[i].Fence, rs[i].Err = "", 0, err
		}
		if c.state.Load() == callAnswered && c.mayHaveGranted() {
			l.giveBack(c.shard, lockStrays(c, nil), c.ghost)
		}
		return nil
	}
	notes := notesOf(c, 3, len(b.index))
	granted := grantsOf(c)
	var fences []int64
	short := false
	if c.ghost > 0 {
		fences = make([]int64, len(b.index))
	}
	for n, i := range b.index {
		r := &rs[i]
		if note, noted := notes.of(n); noted {
			r.readLock(c, note, nonceIn(c.lockTail(n)))
		} else {
			r.Fence, r.TTL, r.deadline = granted.first+int64(n), r.lease, deadlineOf(c.sent, r.lease)
			r.entry, r.set = "", granted
			if granted.head == "" {
				r.entry, r.set = single+expiryText(c.stamp, r.lease)+c.str(2)+c.texts[n], nil
			}
		}
		if c.short != nil && r.Err == nil {
			r.unconfirm(c.short)
			short = true
		}
		if fences != nil && r.Err == nil {
			fences[n] = r.Fence
		}
	}
	if short {
		return l.giveBack(c.shard, lockStrays(c, nil), c.ghost)
	}
	if c.ghost > 0 { // a send that was not answered may yet be executed
		l.giveBack(c.shard, lockStrays(c, fences), c.ghost)
	}
	return nil
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
		r.entry, r.set = note, nil
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
	r.Owner, r.Fence, r.TTL, r.Err = e.owner, e.fence, e.left(stamp), ErrHeld
	r.entry, r.set = "", nil
}
