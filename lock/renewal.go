package lock

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// renewMost is how many leases are renewed by one pipeline to a node: in about
	// 10 ms, which is less than any send's bound.
	renewMost = 2000
	// renewLeast is how many of one shard are, however many shards there are.
	renewLeast = 100
)

// A lane carries the renewals of one shard, not many at a time: those with the
// shortest lease time first, which cannot wait for a hundred thousand others.
type lane struct {
	waiting map[time.Duration][]*Lease // by lease time
	aloft   int                        // how many are being renewed
}

// A renewal is one call for leases of one shard and one lease time.
type renewal struct {
	call   *call
	shard  int
	ttl    time.Duration
	leases []*Lease
	due    time.Duration // when the first of them was
}

// queue takes a lease that is due into its lane.
func (k *keeper) queue(le *Lease) {
	shard := k.l.shardOf(le.resource)
	n := k.lanes[shard]
	if n == nil {
		n = &lane{waiting: make(map[time.Duration][]*Lease)}
		k.lanes[shard] = n
	}
	n.waiting[le.ttl] = append(n.waiting[le.ttl], le)
}

// depart returns the renewals that may be sent now. While half of a lane's are
// under way the other half may follow, so that neither end waits for the other.
func (k *keeper) depart() []*renewal {
	most := max(renewMost/len(k.l.shards), renewLeast)
	var rs []*renewal
	for shard, n := range k.lanes {
		if n.aloft > most {
			continue
		}
		room := most
		for _, ttl := range slices.Sorted(maps.Keys(n.waiting)) {
			for room > 0 && n.waiting[ttl] != nil {
				waiting := n.waiting[ttl]
				part := waiting[:min(len(waiting), room, chunk)]
				if n.waiting[ttl] = waiting[len(part):]; len(part) == len(waiting) {
					delete(n.waiting, ttl)
				}
				if r := k.renewal(shard, ttl, part); r != nil {
					rs = append(rs, r)
					room -= len(r.leases)
					n.aloft += len(r.leases)
				}
			}
		}
		if n.aloft == 0 && len(n.waiting) == 0 {
			delete(k.lanes, shard)
		}
	}
	return rs
}

// renewal makes the call for those of the leases that have not ended meanwhile;
// nil if there are none.
func (k *keeper) renewal(shard int, ttl time.Duration, leases []*Lease) *renewal {
	leases = slices.DeleteFunc(leases, func(le *Lease) bool { return le.index < 0 || le.ttl != ttl })
	if len(leases) == 0 {
		return nil
	}
	c := &call{script: extendScript, shard: shard, bound: min(max(ttl/6, 20*time.Millisecond), sendTime)}
	r := &renewal{call: c, shard: shard, ttl: ttl, leases: leases, due: endless}
	c.names = make([]string, len(leases))
	ends := make([]int, len(leases))
	var entries []byte
	first := int64(neverMillis)
	for i, le := range leases {
		c.names[i] = le.resource
		entries = le.appendEntry(entries)
		ends[i] = len(entries)
		c.until = max(c.until, le.deadline)
		r.due = min(r.due, le.due)
		first = min(first, le.expiry)
	}
	c.until = min(c.until, k.l.now()+giveUp)
	c.texts = split(string(entries), ends)
	c.args = []any{first, millis(ttl), ""}
	c.local = func() []any {
		args := append(make([]any, 0, 1+2*len(leases)), millis(ttl))
		for _, le := range leases {
			args = append(args, le.resource, fenceText(le.fence))
		}
		return args
	}
	return r
}

// send sends renewals, and settles each when it is answered: a node that does not
// answer delays those of others by nothing.
func (k *keeper) send(rs []*renewal) {
	if len(rs) == 0 {
		return
	}
	done := make(chan *call, len(rs))
	calls, byCall := make([]*call, len(rs)), make(map[*call]*renewal, len(rs))
	for i, r := range rs {
		r.call.done = done
		calls[i], byCall[r.call] = r.call, r
	}
	k.l.loops.start(func() {
		k.l.start(context.Background(), calls)
		for range calls {
			select {
			case c := <-done:
				k.settle(byCall[c])
			case <-k.l.closing.Done():
				leave(calls)
				return
			}
		}
	})
}

// settle notes what came of a renewal.
func (k *keeper) settle(r *renewal) {
	c := r.call
	if c.err == nil {
		c.err = c.short // no lease is longer for it; but those that are another's are known
	}
	if c.err != nil {
		k.l.cfg.Logger.Warn("lock: leases could not be renewed", zap.Int("leases", len(r.leases)), zap.Error(c.err))
		k.l.observe(Event{Kind: EventError, Err: c.err})
	}
	notes, lease := notesOf(c, 2, len(r.leases)), millis(r.ttl)
	var lost, kept []*Lease
	k.mu.Lock()
	now := k.l.now()
	k.lag = max(0, now-r.due)
	if c.err != nil {
		k.failed++
	}
	n := k.lanes[r.shard]
	n.aloft -= len(r.leases)
	for i, le := range r.leases {
		if le.index < 0 {
			continue
		}
		le.busy = false
		note, noted := notes.of(i)
		e, mine := entry{}, !noted
		if noted {
			e, mine = parseEntry(note)
			mine = mine && !e.offered && e.fence == le.fence
		}
		switch {
		case c.err != nil && le.ttl == 0: // it is to lapse
		case c.err != nil && (c.short == nil || mine): // once more, soon
			le.due = min(le.due, now) + max(r.ttl/20, 2*keeperGap)
		case !noted:
			le.renewed(c.sent, deadlineOf(c.sent, r.ttl), lease)
			le.expiry, le.grouped = c.stamp/1000+int64(r.ttl/time.Millisecond), false
			kept = append(kept, le)
		case mine: // lasts longer already
			le.renewed(c.sent, deadlineOf(c.sent, e.left(c.stamp)), lease)
			le.expiry, le.tail, le.told, le.grouped = e.expiry, note[34:], false, note[:1] == grouped
		case le.releasing: // its own doing
			le.due = endless
		default:
			heap.Remove(&k.leases, le.index)
			lost = append(lost, le)
			continue
		}
		k.leases.fix(le)
	}
	early := len(k.leases) > 0 && k.leases[0].at < k.planned || len(n.waiting) > 0
	k.mu.Unlock()
	if early {
		k.nudge()
	}
	k.lose(lost)
	for _, le := range kept {
		k.l.observe(Event{Kind: EventExtend, Resource: le.resource, Owner: le.owner, Fence: le.fence})
	}
}

// renewed sets a lease's times after a renewal that was sent at sent; lease is
// its lease time as it stands in Redis since.
func (le *Lease) renewed(sent, deadline time.Duration, lease string) {
	if le.ttl == 0 { // it is to lapse
		return
	}
	le.deadline = max(le.deadline, deadline)
	le.due = sent + le.ttl/3
	if !le.told && le.tail[11:25] != lease {
		le.tail = le.tail[:11] + lease + le.tail[25:]
	}
	le.told = true
}

// appendEntry appends what should stand in Redis.
func (le *Lease) appendEntry(b []byte) []byte {
	letter := single
	if le.grouped {
		letter = grouped
	}
	b = append(b, letter...)
	b = appendDigits(b, le.expiry, 14)
	b = appendDigits(b, le.fence, 19)
	return append(b, le.tail...)
}

// appendDigits appends a number that is not negative in so many digits.
func appendDigits(b []byte, n int64, width int) []byte {
	at := len(b) + width
	b = append(b, "0000000000000000000"[:width]...)
	for ; n > 0; n /= 10 {
		at--
		b[at] = byte('0' + n%10)
	}
	return b
}
