package lock_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// noise is how much later than promised something may be seen on a busy machine.
const noise = 500 * time.Millisecond

// TestG2LeaseEndsInTimeWhenRedisStalls: the last renewal that succeeded was sent
// before the server stopped.
func TestG2LeaseEndsInTimeWhenRedisStalls(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	l := newLocker(t, s, lock.Config{})
	const ttl = 900 * time.Millisecond
	const margin = ttl / 64
	lease := must[*lock.Lease](t)(l.Hold(bounded(t), lock.Claim{Resource: "r", TTL: ttl}))
	first := lease.Deadline()
	eventually(t, "a renewal", func() bool { return lease.Deadline().After(first.Add(ttl / 10)) })

	s.Stop()
	stopped := time.Now()
	if d := lease.Deadline(); d.After(stopped.Add(ttl - margin)) {
		t.Errorf("the deadline is %v after Redis stopped: want %v at the most", d.Sub(stopped), ttl-margin)
	}
	receive(t, "the end of the lease", lease.Context().Done())
	if late := time.Since(stopped) - ttl; late > noise {
		t.Errorf("the lease ended %v after Redis's", late)
	}
	wantErr(t, context.Cause(lease.Context()), lock.ErrLeaseLost)
	eventually(t, "the renewals that failed are counted", func() bool { return l.Stats().RenewalErrors > 0 })
}

// TestG2DeadlineCountsFromBeforeTheSend: with slow replies, what counts is when
// a grant or a renewal was sent.
func TestG2DeadlineCountsFromBeforeTheSend(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, p := newProxied(t, s, lock.Config{Namespace: ns})
	other := newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	must[lock.Results](t)(l.Owners(ctx, "r")) // connected
	p.Delay(300 * time.Millisecond)

	const ttl = 3 * time.Second // the first renewal comes after one
	lease := must[*lock.Lease](t)(l.TryHold(ctx, lock.Claim{Resource: "r", TTL: ttl}))
	check := func(what string) {
		t.Helper()
		fence := lease.Fence()
		deadline := lease.Deadline()
		rs := must[lock.Results](t)(other.Owners(ctx, "r"))
		if rs[0].Fence != fence {
			t.Fatalf("%s: the holder is %+v", what, rs[0])
		}
		if left := time.Until(deadline); left > rs[0].TTL {
			t.Errorf("%s: by its deadline the lease has %v, in Redis it has %v", what, left, rs[0].TTL)
		}
	}
	check("granted")
	granted := lease.Deadline()
	eventually(t, "a renewal", func() bool { return lease.Deadline().After(granted.Add(ttl / 10)) })
	check("renewed")
}

func TestG2OustedHolderIsToldByItsNextRenewal(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	l, other := newLocker(t, s, lock.Config{Namespace: ns}), newLocker(t, s, lock.Config{Namespace: ns})
	ctx := bounded(t)
	const ttl = 6 * time.Second
	lease := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "r", TTL: ttl}))
	began := time.Now()
	must[lock.Results](t)(other.ForceLock(ctx, lock.Claim{Resource: "r", Owner: "thief"}))
	receive(t, "the end of the lease", lease.Context().Done())
	if took := time.Since(began); took > ttl/3+noise {
		t.Errorf("told after %v, want one renewal of %v", took, ttl/3)
	}
	wantErr(t, context.Cause(lease.Context()), lock.ErrLeaseLost)
	wantErr(t, lease.Release(ctx), lock.ErrLeaseLost)
}

// TestG2ShortOutageEndsNoLease: renewal errors alone end nothing.
func TestG2ShortOutageEndsNoLease(t *testing.T) {
	t.Parallel()
	outages := map[string]struct{ begin, end func(p *redistest.Proxy) }{
		"refused": {func(p *redistest.Proxy) { p.Refuse(true); p.Cut() }, (*redistest.Proxy).Heal},
		"stalled": {func(p *redistest.Proxy) { p.Stall(redistest.Both) }, (*redistest.Proxy).Heal},
		"mute":    {func(p *redistest.Proxy) { p.DropReplies(nil, 3, redistest.ThenHang) }, (*redistest.Proxy).Heal},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			failed := make(chan struct{}, 100)
			l, p := newProxied(t, s, lock.Config{Observers: []func(lock.Event){func(e lock.Event) {
				if e.Kind == lock.EventError {
					failed <- struct{}{}
				}
			}}})
			const ttl = 3 * time.Second
			lease := must[*lock.Lease](t)(l.Hold(bounded(t), lock.Claim{Resource: "r", TTL: ttl}))
			first := lease.Deadline()
			eventually(t, "a renewal", func() bool { return lease.Deadline().After(first.Add(ttl / 10)) })
			outage.begin(p)
			begun := lease.Deadline()
			pass(lease.Context(), ttl/2) // one renewal falls due in it
			outage.end(p)
			eventually(t, "a renewal after the outage", func() bool {
				return lease.Deadline().After(begun.Add(ttl/10)) || lease.Context().Err() != nil
			})
			wantErr(t, context.Cause(lease.Context()), nil)
			wantErr(t, lease.Release(bounded(t)), nil)
		})
	}
}
