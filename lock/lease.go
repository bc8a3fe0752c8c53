package lock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// A Lease is a lock that its Locker renews until it is released. Losing it is
// told by its context alone.
type Lease struct {
	l        *Locker
	resource string
	owner    string
	fence    int64
	tail     string // its entry from the nonce on
	ttl      time.Duration
	began    time.Duration
	ctx      context.Context
	cancel   context.CancelCauseFunc

	// The keeper's, under its lock.
	deadline  time.Duration // by the Locker's clock: lost after it
	due       time.Duration // next renewal
	expiry    int64         // its end in Redis as far as known, ms
	index     int           // in the keeper's heap; -1: not kept
	busy      bool          // a renewal is under way
	grouped   bool          // its entry is one of a group's
	told      bool          // tail has its lease time
	releasing bool          // a release or settlement has begun
	outcome   error         // of the release
}

const endless time.Duration = math.MaxInt64

// deadlineOf returns until when a lease may be relied on that had so much time
// left when a call was executed that was sent at sent: less a margin for
// clocks that run at different speeds, and for Redis's counting in ms.
func deadlineOf(sent, left time.Duration) time.Duration {
	if left == NoExpiry {
		return endless
	}
	return sent + left - left/64 - 2*time.Millisecond
}

// Resource returns what is locked.
func (le *Lease) Resource() string { return le.resource }

// Owner returns who holds it.
func (le *Lease) Owner() string { return le.owner }

// Fence returns the grant's fencing token, to hand to whatever is written to:
// that must refuse a smaller one than it has seen.
func (le *Lease) Fence() int64 { return le.fence }

// Context returns a context with the values of the one that the lock was asked
// for with, but not its end. It ends when the lease does: with the cause
// ErrLeaseLost, ErrReleased or ErrClosed.
func (le *Lease) Context() context.Context { return le.ctx }

// Deadline returns until when the lease may be relied on, if no renewal
// succeeds; the zero time for a lock without expiry.
func (le *Lease) Deadline() time.Time {
	le.l.keeper.mu.Lock()
	d := le.deadline
	le.l.keeper.mu.Unlock()
	if d == endless {
		return time.Time{}
	}
	return time.Now().Add(d - le.l.now())
}

// Release unlocks the resource and ends the lease, whatever comes of it. It is
// ErrLeaseLost if the lease was lost before, and ErrOutcomeUnknown if ctx ended
// before Redis answered: then the lock ends with its lease at the latest, unless
// it has none. A ctx that has ended already has the lock released all the same,
// but nobody waits for it except Close: that is ErrOutcomeUnknown, too. Releasing
// again does nothing and returns what came of it before.
func (le *Lease) Release(ctx context.Context) (err error) {
	k := le.l.keeper
	if ctx == nil {
		return invalid("context is nil")
	}
	if !k.releasing(le) {
		return k.released(le)
	}
	ctx, end := le.l.traceOne(ctx, "Release")
	defer func() { end(Result{Resource: le.resource, Owner: le.owner, Fence: le.fence}, err) }()
	if ctx.Err() != nil {
		if e, ok := parseEntry(k.entryOf(le)); ok {
			s := stray{place: plainPlace(le.resource), resource: le.resource, nonce: e.nonce, lease: e.lease}
			le.l.giveBack(le.l.shardOf(le.resource), []stray{s}, 0)
		}
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
		k.setReleased(le, err)
		k.end(le, ErrReleased)
		return err
	}
	claim := Claim{Resource: le.resource, Owner: le.owner, Fence: le.fence, entry: k.entryOf(le), held: le.l.now() - le.began}
	rs, err := le.l.change(ctx, "Unlock", unlockScript, []Claim{claim}, EventUnlock)
	if err != nil && len(rs) == 1 {
		err = rs[0].Err
	}
	if errors.Is(err, ErrNotHeld) || errors.Is(err, ErrHeld) {
		k.end(le, ErrLeaseLost)
		return fmt.Errorf("%w: %q", ErrLeaseLost, le.resource)
	}
	k.setReleased(le, err)
	k.end(le, ErrReleased)
	return err
}

// Lapse stops the renewal and releases nothing: the lease runs out by itself,
// which ends the context with ErrLeaseLost.
func (le *Lease) Lapse() { le.l.keeper.lapse(le) }

// Keep has granted locks renewed until they are released: what TryLock,
// TryLockAll, ForceLock or Jobs.Claim returned without error. It returns one
// lease for each, in their order, or an error and keeps none. The leases'
// contexts have ctx's values.
func (l *Locker) Keep(ctx context.Context, granted ...Result) (leases []*Lease, err error) {
	_, end := l.trace(ctx, "Keep", len(granted)) // its context is not the leases'
	defer func() { end(granted, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	for i, r := range granted {
		if r.Err != nil || r.Fence == 0 || r.deadline == 0 || r.set == nil && !r.isOf(r.entry) {
			return nil, invalid("Result[%d] %q was not granted", i, r.Resource)
		}
	}
	leases = make([]*Lease, len(granted))
	for i, r := range granted {
		leases[i] = l.keep(ctx, r, l.now())
	}
	return leases, nil
}

func (l *Locker) keep(ctx context.Context, r Result, began time.Duration) *Lease {
	le := &Lease{l: l, resource: r.Resource, owner: r.Owner, fence: r.Fence, ttl: r.lease, began: began, deadline: r.deadline, index: -1}
	if r.set != nil {
		n := max(0, r.set.find(&r)) // Redis compares fences where the caller has changed something
		le.tail, le.expiry, le.grouped = r.set.tail(n), r.set.expiry(), r.set.head[:1] == grouped
	} else if e, ok := parseEntry(r.entry); ok && !e.offered {
		le.tail, le.expiry = r.entry[34:], e.expiry
	}
	le.ctx, le.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.traceLease(ctx, le)
	l.keeper.add(le)
	return le
}

// TryHold locks a resource if it is free, without waiting, and keeps it. The
// claim's Owner may be empty: Config.Owner.
func (l *Locker) TryHold(ctx context.Context, c Claim) (*Lease, error) {
	if c.Owner == "" {
		c.Owner = l.cfg.Owner
	}
	rs, err := l.lock(ctx, "TryHold", "each", []Claim{c})
	if err != nil {
		if len(rs) == 1 {
			err = rs[0].Err
		}
		return nil, err
	}
	return l.keep(ctx, rs[0], l.now()), nil
}

// Hold waits until it has locked a resource, in the order of arrival, and keeps
// it. The claim's Owner may be empty: Config.Owner. ctx bounds the waiting
// only: its end does not release the lock. The error is then the context's
// cause, joined with ErrHeld where the lock was another's. While Redis is out
// of reach, Hold goes on trying.
func (l *Locker) Hold(ctx context.Context, c Claim) (_ *Lease, err error) {
	traced, end := l.traceOne(ctx, "Hold") // the lease has ctx's values
	grant := Result{Resource: c.Resource, Owner: c.Owner}
	defer func() { end(grant, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	if c.Owner == "" {
		c.Owner = l.cfg.Owner
		grant.Owner = c.Owner
	}
	if c.TTL == 0 {
		c.TTL = l.cfg.TTL
	}
	if err := c.check(true); err != nil {
		return nil, err
	}
	began := l.now()
	w := &waiter{ctx: traced, claim: claimant{place: plainPlace(c.Resource), resource: c.Resource, owner: c.Owner, lease: c.TTL}}
	res, err := l.queue.wait(w)
	if err != nil {
		return nil, err
	}
	grant = res.Grant
	l.observe(Event{Kind: EventLock, Resource: c.Resource, Owner: c.Owner, Fence: grant.Fence, Wait: l.now() - began})
	return l.keep(ctx, grant, l.now()), nil
}

// releaseTime bounds a release that Do makes by itself.
const releaseTime = 5 * time.Second

// Do waits for the lock, runs f, and releases the lock on every way out, also
// when f panics. f's context ends with ctx, and when the lease is lost, with
// cause ErrLeaseLost. The error is f's, joined with that of the release.
func (l *Locker) Do(ctx context.Context, c Claim, f func(context.Context, *Lease) error) (err error) {
	if f == nil {
		return invalid("f is nil")
	}
	ctx, end := l.traceOne(ctx, "Do")
	traced := Result{Resource: c.Resource, Owner: c.Owner}
	defer func() { end(traced, err) }()
	lease, err := l.Hold(ctx, c)
	if err != nil {
		return err
	}
	traced.Owner, traced.Fence = lease.owner, lease.fence
	if cause := context.Cause(lease.Context()); cause != nil {
		return cause // over before its grant arrived, or closed
	}
	work, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lease.Context(), func() { cancel(context.Cause(lease.Context())) })
	defer func() {
		stop()
		cancel(nil)
		bounded, done := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer done()
		if e := lease.Release(bounded); e != nil {
			err = errors.Join(err, e)
		}
	}()
	return f(work, lease)
}
