package lock

import (
	"container/heap"
	"context"
	"errors"
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

	mu       sync.Mutex
	leases   leaseHeap
	lanes    map[int]*lane // by shard; busy ones only
	shortest time.Duration // lease time of those that are kept, at least
	planned  time.Duration // when the next tick is
	running  bool
	closed   bool
	lag      time.Duration
	failed   int // batches of renewals
}

// Those that fall due soon are renewed together: within a hundredth of the
// shortest lease time, but not less or more than this, and never within more than
// a tenth of it.
const (
	keeperGap     = 5 * time.Millisecond
	keeperLongGap = 50 * time.Millisecond
)

func newKeeper(l *Locker) *keeper {
	return &keeper{l: l, kick: make(chan struct{}, 1), lanes: make(map[int]*lane)}
}

// at is when a lease needs the keeper next.
func (le *Lease) at() time.Duration {
	if le.busy {
		return le.deadline
	}
	return min(le.due, le.deadline)
}

// A leaseHeap has the leases by when they need the keeper. The times stand in it:
// to look them up in the leases would take most of the time that it takes.
type leaseHeap []leaseAt

type leaseAt struct {
	at    time.Duration
	lease *Lease
}

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lease.index, h[j].lease.index = i, j
}
func (h *leaseHeap) Push(x any) {
	le := x.(*Lease)
	le.index = len(*h)
	*h = append(*h, leaseAt{le.at(), le})
}
func (h *leaseHeap) Pop() any {
	old := *h
	le := old[len(old)-1].lease
	old[len(old)-1] = leaseAt{}
	*h = old[:len(old)-1]
	le.index = -1
	return le
}

// fix puts a lease where it belongs, after its times have changed.
func (h *leaseHeap) fix(le *Lease) {
	(*h)[le.index].at = le.at()
	heap.Fix(h, le.index)
}

func (k *keeper) stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Stats{Leases: len(k.leases), RenewalLag: k.lag, RenewalErrors: k.failed}
}

// add begins to keep a lease. One that was over before its grant arrived ends at
// once: nobody is to begin with it.
func (k *keeper) add(le *Lease) {
	now := k.l.now()
	k.mu.Lock()
	if k.closed || !k.running && !k.l.loops.start(k.run) {
		k.mu.Unlock()
		le.cancel(ErrClosed)
		return
	}
	k.running = true
	if le.deadline <= now {
		k.mu.Unlock()
		le.cancel(ErrLeaseLost)
		k.lost(le)
		return
	}
	le.due = endless
	if le.ttl != NoExpiry {
		le.due = min(now+le.ttl/3, le.deadline-le.ttl/2)
	}
	if len(k.leases) == 0 {
		k.shortest = le.ttl
	}
	k.shortest = min(k.shortest, le.ttl)
	heap.Push(&k.leases, le)
	early := k.leases[0].at < k.planned
	k.mu.Unlock()
	if early {
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
	return string(le.appendEntry(nil))
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

// lose ends the contexts of lost leases, and tells of them elsewhere: a log that
// stands still delays no other lease's end.
func (k *keeper) lose(leases []*Lease) {
	for _, le := range leases {
		le.cancel(ErrLeaseLost)
	}
	if len(leases) > 0 {
		k.l.loops.start(func() {
			for _, le := range leases {
				k.lost(le)
			}
		})
	}
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
		k.leases.fix(le)
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
	for _, x := range leases {
		x.lease.index = -1
	}
	k.mu.Unlock()
	for _, x := range leases {
		x.lease.cancel(ErrClosed)
	}
}

// tick ends what is lost and renews what is due. It returns how long to wait
// until the next tick; never longer than a second, to notice that the machine slept.
func (k *keeper) tick() time.Duration {
	now := k.l.now()
	var lost []*Lease
	k.mu.Lock()
	soon := now + min(max(k.shortest/100, keeperGap), keeperLongGap, k.shortest/10)
	for len(k.leases) > 0 && k.leases[0].at <= soon {
		le := k.leases[0].lease
		if le.deadline <= now {
			heap.Pop(&k.leases)
			lost = append(lost, le)
			continue
		}
		if k.leases[0].at == le.deadline {
			break // to the moment
		}
		le.busy = true
		k.leases.fix(le)
		k.queue(le)
	}
	renewals := k.depart()
	wait := time.Second
	if len(k.leases) > 0 {
		wait = min(wait, k.leases[0].at-now)
	}
	k.planned = now + wait
	k.mu.Unlock()
	k.lose(lost)
	k.send(renewals)
	return max(wait, 0)
}
