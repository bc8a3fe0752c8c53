package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockingworker/lockingworker/lock"
)

// leases has one process keep 100,000 leases of 5 s for 30 s: what they cost in memory and time, and whether any is lost.
// rueidislock, the only other one here that keeps leases, has 20,000.
func leases(ctx context.Context, b *bench, id string) error {
	n := pick(b, 100_000, 10_000)
	err := b.alternate(ctx, b.among(nameOurs, nameRueidislock), func(l library) error {
		if l.name == nameRueidislock {
			return leasesOf(ctx, b, id, n/5, b.shortSpan(), l)
		}
		return leasesOf(ctx, b, id, n, pick(b, 30*time.Second, 3*time.Second), l)
	})
	if err != nil {
		return err
	}
	r := b.report
	r.atMost(id, "bytes a lease", 700, r.median(id, size(n), bytesEach, nameOurs))
	r.atMost(id, "client, % of one core", 15, r.median(id, size(n), clientShare, nameOurs))
	r.atMost(id, "goroutines at any moment", 100, r.most(id, size(n), goroutinesMost))
	r.atMost(id, "leases lost", 0, r.most(id, size(n), lost))
	return nil
}

const (
	bytesEach      = "bytes a lease"
	clientShare    = "client time"
	serverShare    = "server time"
	goroutinesMost = "goroutines at most"
	lost           = "lost"

	keptTTL = 5 * time.Second
)

// shortSpan is long enough to see each lease renewed several times.
func (b *bench) shortSpan() time.Duration { return pick(b, 6*time.Second, 3*time.Second) }

// A keeping keeps leases in one process.
type keeping interface {
	// hold locks the resources and keeps them.
	hold(ctx context.Context, names []string) error
	// lost counts the leases that have ended.
	lost() int
}

func leasesOf(ctx context.Context, b *bench, id string, n int, span time.Duration, l library) error {
	c, err := l.open(place{addr: b.server.addr, ttl: keptTTL})
	if err != nil {
		return err
	}
	defer c.close()
	names := resources(n)
	if err := c.collection(ctx, names[:10]); err != nil { // connects
		return err
	}
	var k keeping
	switch c := c.(type) {
	case *ours:
		k = &oursKeeping{ours: c}
	case rueidisLock:
		k = &rueidisKeeping{rueidisLock: c}
	default:
		return fmt.Errorf("%s keeps no leases", l.name)
	}
	before, err := memory(ctx)
	if err != nil {
		return err
	}
	if err := k.hold(ctx, names); err != nil {
		return err
	}
	if err := sleep(ctx, pick(b, 4*time.Second, 2*time.Second)); err != nil { // into the rhythm
		return err
	}
	began, used := time.Now(), cpuTime()
	served, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	goroutines, err := mostGoroutines(ctx, span)
	if err != nil {
		return err
	}
	used = cpuTime() - used
	after, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	inUse, err := memory(ctx)
	if err != nil {
		return err
	}
	r := b.report
	r.add(id, size(n), bytesEach, "B", l.name, float64(inUse-before)/float64(n))
	r.add(id, size(n), clientShare, "% of a core", l.name, 100*used.Seconds()/took.Seconds())
	r.add(id, size(n), serverShare, "% of a core", l.name, 100*(after-served).Seconds()/took.Seconds())
	r.add(id, size(n), goroutinesMost, "", l.name, float64(goroutines))
	r.add(id, size(n), lost, "leases", l.name, float64(k.lost()))
	if l.name == nameOurs && k.lost() > 0 {
		r.breaksf(id, "%d of %d leases were lost", k.lost(), n)
	}
	return nil
}

// mostGoroutines looks for so long how many there are; not so often that it costs anything.
func mostGoroutines(ctx context.Context, span time.Duration) (int, error) {
	most := 0
	_, _, err := repeat(ctx, span, func() error {
		most = max(most, runtime.NumGoroutine())
		return sleep(ctx, 25*time.Millisecond)
	})
	return most, err
}

type oursKeeping struct {
	*ours
	leases []*lock.Lease
}

func (k *oursKeeping) hold(ctx context.Context, names []string) error {
	k.leases = make([]*lock.Lease, 0, len(names))
	for len(names) > 0 {
		part := names[:min(5000, len(names))]
		names = names[len(part):]
		rs, err := k.locker.TryLock(ctx, lock.Claims(owner, part...)...)
		if err != nil {
			return err
		}
		ls, err := k.locker.Keep(ctx, rs...)
		if err != nil {
			return err
		}
		k.leases = append(k.leases, ls...)
	}
	return nil
}

func (k *oursKeeping) lost() int {
	n := 0
	for _, l := range k.leases {
		if l.Context().Err() != nil {
			n++
		}
	}
	return n
}

type rueidisKeeping struct {
	rueidisLock
	leases []context.Context
}

func (k *rueidisKeeping) hold(ctx context.Context, names []string) error {
	k.leases = make([]context.Context, len(names))
	var g errgroup.Group
	g.SetLimit(1000)
	for i, name := range names {
		g.Go(func() (err error) {
			k.leases[i], _, err = k.locker.TryWithContext(ctx, name) //nolint:fatcontext // each is made from ctx, none from another
			return err
		})
	}
	return g.Wait()
}

func (k *rueidisKeeping) lost() int {
	n := 0
	for _, ctx := range k.leases {
		if ctx.Err() != nil {
			n++
		}
	}
	return n
}
