package lock

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A keeper renews all leases of a Locker in batches, with one goroutine and one
// timer for all. Each is renewed every third of its lease time; when its
// deadline passes without success, it is lost.
type keeper struct {
	l    *Locker
	kick chan struct{} // the first of the heap has changed

	mu      sync.Mutex
	leases  leaseHeap
	running bool
	closed  bool
	lag     time.Duration
}

// keeperGap is how long renewals that fall due are collected.
const keeperGap = 5 * time.Millisecond

func newKeeper(l *Locker) *keeper {
	return &keeper{l: l, kick: make(chan struct{}, 1)}
}

// at is when a lease needs the keeper next.
func (le *Lease) at() time.Duration {
	if le.busy {
		return le.deadline
	}
	return min(le.due, le.deadline)
}

type leaseHeap []*Lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].at() < h[j].at() }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *leaseHeap) Push(x any) {
	le := x.(*Lease)
	le.index = len(*h)
	*h = append(*h, le)
}
func (h *leaseHeap) Pop() any {
	old := *h
	le := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	le.index = -1
	return le
}

func (k *keeper) stats() (leases int, lag time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.leases), k.lag
}

// add begins to keep a lease.
func (k *keeper) add(le *Lease) {
	k.mu.Lock()
	if k.closed || !k.running && !k.l.loops.start(k.run) {
		k.mu.Unlock()
		le.cancel(ErrClosed)
		return
	}
	k.running = true
	le.due = endless
	if le.ttl != NoExpiry {
		le.due = min(k.l.now()+le.ttl/3, le.deadline-le.ttl/2)
	}
	heap.Push(&k.leases, le)
	first := le.index == 0
	k.mu.Unlock()
	if first {
		k.nudge()
	}
}

func (k *keeper) nudge() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// releasing notes that a release has begun; false if the lease has ended or
// another release is under way.
func (k *keeper) releasing(le *Lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if le.index < 0 || le.releasing {
		return false
	}
	le.releasing = true
	return true
}

// released returns what came of a release, or why the lease ended otherwise. A
// release that is under way is somebody else's: nil.
func (k *keeper) released(le *Lease) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if cause := context.Cause(le.ctx); cause != nil && !errors.Is(cause, ErrReleased) {
		return cause
	}
	return le.outcome
}

func (k *keeper) setReleased(le *Lease, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	le.outcome = err
}

func (k *keeper) entryOf(le *Lease) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return le.entry()
}

// end stops keeping a lease and ends its context.
func (k *keeper) end(le *Lease, cause error) {
	k.mu.Lock()
	kept := k.drop(le)
	k.mu.Unlock()
	le.cancel(cause)
	if kept && errors.Is(cause, ErrLeaseLost) {
		k.lost(le)
	}
}

func (k *keeper) drop(le *Lease) bool {
	if le.index < 0 {
		return false
	}
	heap.Remove(&k.leases, le.index)
	return true
}

func (k *keeper) lost(le *Lease) {
	k.l.cfg.Logger.Warn("lock: lease lost", zap.String("resource", le.resource), zap.String("owner", le.owner), zap.String("fence", strconv.FormatInt(le.fence, 10)))
	k.l.observe(Event{Kind: EventLost, Resource: le.resource, Owner: le.owner, Fence: le.fence, Held: k.l.now() - le.began, Err: ErrLeaseLost})
}

// lapse stops renewing, but watches the deadline.
func (k *keeper) lapse(le *Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if le.index >= 0 {
		le.due = endless
		le.ttl = 0 // no renewal that is under way sets due again
		heap.Fix(&k.leases, le.index)
	}
}

// run is the loop of the keeper.
func (k *keeper) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.l.closing.Done():
			k.closeAll()
			return
		case <-timer.C:
		case <-k.kick:
		}
		k.l.noticeSleep()
		timer.Reset(k.tick())
	}
}

func (k *keeper) closeAll() {
	k.mu.Lock()
	k.closed = true
	leases := k.leases
	k.leases = nil
	for _, le := range leases {
		le.index = -1
	}
	k.mu.Unlock()
	for _, le := range leases {
		le.cancel(ErrClosed)
	}
}

// tick ends what is lost and renews what is due. It returns how long to wait
// until the next tick; never longer than a second, to notice that the machine slept.
func (k *keeper) tick() time.Duration {
	now := k.l.now()
	var lost []*Lease
	type kind struct {
		shard int
		ttl   time.Duration
	}
	due := make(map[kind][]*Lease)
	k.mu.Lock()
	for len(k.leases) > 0 && k.leases[0].at() <= now {
		le := k.leases[0]
		if le.deadline <= now {
			heap.Pop(&k.leases)
			lost = append(lost, le)
			continue
		}
		le.busy = true
		heap.Fix(&k.leases, 0)
		kd := kind{k.l.shardOf(le.resource), le.ttl}
		due[kd] = append(due[kd], le)
	}
	wait := time.Second
	if len(k.leases) > 0 {
		wait = min(wait, k.leases[0].at()-now)
		if first := k.leases[0]; !first.busy && first.due < first.deadline {
			wait = max(wait, keeperGap)
		}
	}
	k.mu.Unlock()
	for _, le := range lost {
		le.cancel(ErrLeaseLost)
		k.lost(le)
	}
	for kd, leases := range due {
		for len(leases) > 0 {
			n := min(chunk, len(leases))
			part := leases[:n:n]
			leases = leases[n:]
			if !k.l.loops.start(func() { k.renew(kd.shard, kd.ttl, part, now) }) {
				break
			}
		}
	}
	return max(wait, 0)
}

// renew extends leases of one shard and one lease time.
func (k *keeper) renew(shard int, ttl time.Duration, leases []*Lease, due time.Duration) {
	c := &call{script: extendScript, shard: shard, bound: min(max(ttl/6, 20*time.Millisecond), sendTime)}
	c.names, c.texts = make([]string, len(leases)), make([]string, len(leases))
	first := int64(neverMillis)
	k.mu.Lock()
	for i, le := range leases {
		c.names[i], c.texts[i] = le.resource, le.entry()
		c.until = max(c.until, le.deadline)
		first = min(first, le.expiry)
	}
	k.mu.Unlock()
	c.args = []any{first, millis(ttl)}
	c.local = func() []any {
		args := append(make([]any, 0, 1+2*len(leases)), millis(ttl))
		for _, le := range leases {
			args = append(args, le.resource, fenceText(le.fence))
		}
		return args
	}
	k.l.execUntil(context.Background(), k.l.closing, []*call{c})
	if c.state.Load() == callLeft {
		return
	}
	if c.err != nil {
		k.l.cfg.Logger.Warn("lock: leases could not be renewed", zap.Int("leases", len(leases)), zap.Error(c.err))
		k.l.observe(Event{Kind: EventError, Err: c.err})
	}
	notes := notesOf(c, 2, len(leases))
	var lost, kept []*Lease
	k.mu.Lock()
	k.lag = k.l.now() - due
	for i, le := range leases {
		if le.index < 0 {
			continue
		}
		le.busy = false
		note, noted := notes.of(i)
		switch {
		case c.err != nil && le.ttl == 0: // it is to lapse
		case c.err != nil: // once more, soon
			le.due = min(le.due, k.l.now()) + max(ttl/20, keeperGap)
		case !noted:
			k.renewed(le, c.sent, deadlineOf(c.sent, ttl))
			le.expiry = c.stamp/1000 + int64(ttl/time.Millisecond)
			kept = append(kept, le)
		default:
			e, ok := parseEntry(note)
			switch {
			case ok && !e.offered && e.fence == le.fence: // lasts longer already
				k.renewed(le, c.sent, deadlineOf(c.sent, e.left(c.stamp)))
				le.expiry, le.tail = e.expiry, note[34:]
			case le.releasing: // its own doing
				le.due = endless
			default:
				heap.Remove(&k.leases, le.index)
				lost = append(lost, le)
				continue
			}
		}
		heap.Fix(&k.leases, le.index)
	}
	k.mu.Unlock()
	k.nudge()
	for _, le := range lost {
		le.cancel(ErrLeaseLost)
		k.lost(le)
	}
	for _, le := range kept {
		k.l.observe(Event{Kind: EventExtend, Resource: le.resource, Owner: le.owner, Fence: le.fence})
	}
}

// entry writes what should stand in Redis.
func (le *Lease) entry() string {
	return fmt.Sprintf("L%014d%019d%s", le.expiry, le.fence, le.tail)
}

// renewed sets a lease's times after a renewal that was sent at sent.
func (k *keeper) renewed(le *Lease, sent, deadline time.Duration) {
	if le.ttl == 0 { // it is to lapse
		return
	}
	le.deadline = max(le.deadline, deadline)
	le.due = sent + le.ttl/3
	if lease := millis(le.ttl); le.tail[11:25] != lease {
		le.tail = le.tail[:11] + lease + le.tail[25:]
	}
}
