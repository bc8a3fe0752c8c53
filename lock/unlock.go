package lock

import (
	"context"
	"fmt"
)

// Unlock releases each resource that its owner holds, and hands it to whoever
// waits. With a fence it releases that very grant only; without one, equality
// of owner is all that protects. A free one, also one that has expired, has
// ErrNotHeld; another's has ErrHeld and the holder. If a first send was not
// answered, finding the grant gone counts as released.
func (l *Locker) Unlock(ctx context.Context, claims ...Claim) (rs Results, err error) {
	ctx, end := l.trace(ctx, "Unlock", len(claims))
	defer func() { end(rs, err) }()
	return l.change(ctx, "Unlock", unlockScript, claims, EventUnlock)
}

// ForceUnlock releases each resource, whoever holds it: for administrators. A
// free one has ErrNotHeld.
func (l *Locker) ForceUnlock(ctx context.Context, resources ...string) (rs Results, err error) {
	ctx, end := l.trace(ctx, "ForceUnlock", len(resources))
	defer func() { end(rs, err) }()
	return l.change(ctx, "ForceUnlock", unlockScript, Claims(anybody, resources...), EventUnlock)
}

// anybody is the owner with which ForceUnlock claims.
const anybody = "*"

// Extend sets the time left of each resource to its TTL, for its owner only
// (and fence, where given). It sets, it never adds; and it never shortens. A
// free one has ErrNotHeld, another's ErrHeld.
func (l *Locker) Extend(ctx context.Context, claims ...Claim) (rs Results, err error) {
	ctx, end := l.trace(ctx, "Extend", len(claims))
	defer func() { end(rs, err) }()
	return l.change(ctx, "Extend", extendScript, claims, EventExtend)
}

// change is what Unlock, ForceUnlock and Extend have in common.
func (l *Locker) change(ctx context.Context, op string, s *script, claims []Claim, kind EventKind) (Results, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	rs := l.accept(claims, false)
	batches := l.changeBatches(rs, s, op == "ForceUnlock")
	l.execBatches(ctx, batches)
	for _, b := range batches {
		l.settleChanges(ctx, b, rs)
	}
	for i, c := range claims {
		if rs[i].Err == nil {
			if op == "ForceUnlock" {
				c.Owner = "" // not known
			}
			l.observe(Event{Kind: kind, Resource: c.Resource, Owner: c.Owner, Fence: max(c.Fence, rs[i].Fence), Held: c.held})
		}
	}
	return rs, rs.err(op)
}

func (l *Locker) changeBatches(rs Results, s *script, force bool) []*batch {
	together := rs.together()
	batches := l.batches(rs, chunk, func(r *Result) kind {
		k := kind{fenced: r.Fence != 0}
		if s == extendScript {
			k.lease = r.lease
		}
		if together[r.set] >= setLeast && r.set.find(r) >= 0 {
			k.set = r.set
		}
		return k
	})
	for _, b := range batches {
		// What names no fence might meet a later grant of the same owner.
		c := &call{script: s, shard: b.kind.shard, once: !b.kind.fenced, names: b.names(rs)}
		first, head := never, ""
		if set := b.kind.set; set != nil {
			first, head = set.head[1:15], set.head
		} else {
			c.kin = "change"
			c.texts = make([]string, len(b.index))
			for n, i := range b.index {
				want := rs[i].want()
				if force {
					want = anybody
				}
				if isWhole(want) {
					first = min(first, want[1:15])
				} else {
					first = "0"
				}
				c.texts[n] = want
			}
		}
		if s == extendScript {
			c.args = []any{first, millis(b.kind.lease), head}
		} else {
			c.args, c.dated = []any{"0", first, head}, true
		}
		b.call = c
	}
	return batches
}

// setLeast is how many of a call's grants are worth a call of their own.
const setLeast = 8

// together counts the results of each set of grants.
func (rs Results) together() map[*grants]int {
	var counts map[*grants]int
	for i := 0; i < len(rs); {
		from, set := i, rs[i].set
		for i < len(rs) && rs[i].set == set {
			i++
		}
		if set == nil || len(set.names) < setLeast {
			continue
		}
		if counts == nil {
			counts = make(map[*grants]int)
		}
		counts[set] += i - from
	}
	return counts
}

// want says which lock is meant, as entry.lua's wanted reads it.
func (r *Result) want() string {
	switch n := r.set.find(r); {
	case n >= 0:
		return r.set.entry(n)
	case r.Fence != 0 && r.isOf(r.entry):
		return r.entry
	case r.Fence != 0:
		return "F" + fenceText(r.Fence) + r.Owner
	default:
		return "W" + r.Owner
	}
}

// isWhole tells whether a want is a whole entry.
func isWhole(want string) bool { return want[:1] == single || want[:1] == grouped }

// isOf tells whether an entry is of this owner and fence: the caller may have
// changed the claim that it came with.
func (r *Result) isOf(text string) bool {
	e, ok := parseEntry(text)
	return ok && !e.offered && e.owner == r.Owner && e.fence == r.Fence
}

func (l *Locker) settleChanges(ctx context.Context, b *batch, rs Results) {
	c := b.call
	extend := c.script != unlockScript
	if err := l.outcome(ctx, c); err != nil {
		if c.state.Load() == callLeft || c.unanswered {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		for _, i := range b.index {
			rs[i].Owner, rs[i].Fence, rs[i].Err = "", 0, err
		}
		return
	}
	notes := notesOf(c, 2, len(b.index))
	var set *grants
	var head, lease string
	if extend {
		head, lease = c.renewedAs()+expiryText(c.stamp, b.kind.lease), millis(b.kind.lease)
		if b.kind.set != nil {
			set = b.kind.set.renewed(head, lease)
		}
	}
	for n, i := range b.index {
		if note, noted := notes.of(n); noted {
			rs[i].change(c, note, extend)
		} else if extend {
			rs[i].set, rs[i].entry = set, ""
			if set == nil && isWhole(c.texts[n]) {
				rs[i].entry = head + c.texts[n][15:45] + lease + c.texts[n][lockHead:]
			}
			rs[i].TTL, rs[i].deadline = rs[i].lease, deadlineOf(c.sent, rs[i].lease)
		} else {
			rs[i].Owner, rs[i].Fence, rs[i].TTL = "", 0, 0
		}
		if c.short != nil && rs[i].Err == nil {
			rs[i].unconfirm(c.short)
		}
	}
}

// change reads what the script noted of a resource that was to be released or
// extended.
func (r *Result) change(c *call, note string, extend bool) {
	e, ok := parseEntry(note)
	mine := ok && !e.offered && e.owner == r.Owner && (r.Fence == 0 || e.fence == r.Fence)
	switch {
	case extend && mine: // set, or it lasts longer already
		r.entry, r.set = note, nil
		r.Fence, r.TTL, r.deadline = e.fence, e.left(c.stamp), deadlineOf(c.sent, e.left(c.stamp))
	case !extend && c.unanswered && (note == "" || ok && (e.offered || c.follows(e.fence))): // gone: an earlier send did it
		r.Owner, r.Fence, r.TTL = e.owner, e.fence, 0
	case note == "":
		r.Owner, r.Fence, r.TTL, r.Err = "", 0, 0, ErrNotHeld
	case note == "!":
		r.Owner, r.Fence, r.TTL = "", 0, 0
		r.Err = fmt.Errorf("%w: a reply was lost, and there was a grant since", ErrOutcomeUnknown)
	case ok:
		r.refuse(e, c.stamp)
	default:
		r.Owner, r.Fence, r.TTL, r.Err = "", 0, 0, fmt.Errorf("%w: lock %q", ErrCorruptState, r.Resource)
	}
}
