package gocronworker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockingworker/lockingworker/lock"
)

// patience is how long a lock is asked for, and given back.
const patience = 5 * time.Second

// DefaultAtLeast is the default of LockerConfig.AtLeast.
const DefaultAtLeast = time.Second

// LockerConfig says how a Locker locks. The zero value is usable.
type LockerConfig struct {
	// AtLeast is how long a lock is held, however soon the job ends, so that a process whose tick is a little later does not
	// run it again. It has to be more than the clocks differ and ticks are late, and less than the schedule's period by as
	// much. Default 1s.
	AtLeast time.Duration
	// TTL is the lease time: so long after its process died another one may have the lock. It is renewed while the job runs.
	// Default: lock.Config.TTL of the Locker.
	TTL time.Duration
	// Prefix and the job's name are what is locked. Default "gocron/".
	Prefix string
	// OnError is told what gocron does not hear or drops, with the job's name: a lease that was lost while the job ran, and a
	// lock that could not be given back. Default: nobody is told.
	OnError func(name string, err error)
}

// Locker is a [gocron.Locker]: of the schedulers that share it, or have one of the same namespace and prefix, one runs a job at
// a time. It cannot promise one run per tick: it sees neither tick nor outcome. A process that is later than AtLeast runs the
// job again; a DurationJob is counted by each process from its own start, so it runs as often as that; a job that failed is
// not repeated; and one whose lease is lost goes on beside its successor, since gocron's Locker cannot stop it. [NewJob] has
// none of that. A job should have one of both: they lock different names.
type Locker struct {
	locker *lock.Locker
	cfg    LockerConfig

	mu     sync.Mutex
	closed bool
	kept   map[*hold]struct{} // those whose jobs have ended too soon
	ending sync.WaitGroup     // releases under way
}

var _ gocron.Locker = (*Locker)(nil)

// NewLocker makes one. It sends nothing.
func NewLocker(l *lock.Locker, cfg LockerConfig) (*Locker, error) {
	var errs []error
	if l == nil {
		errs = append(errs, invalid("lock.Locker is nil"))
	}
	if cfg.AtLeast < 0 {
		errs = append(errs, invalid("LockerConfig.AtLeast %v: want 0 or more", cfg.AtLeast))
	}
	errs = append(errs, checkTTL("LockerConfig", cfg.TTL))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.AtLeast == 0 {
		cfg.AtLeast = DefaultAtLeast
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "gocron/"
	}
	if cfg.OnError == nil {
		cfg.OnError = func(string, error) {}
	}
	return &Locker{locker: l, cfg: cfg, kept: map[*hold]struct{}{}}, nil
}

// checkTTL checks the TTL of a Config.
func checkTTL(config string, ttl time.Duration) error {
	if ttl != 0 && (ttl < lock.MinTTL || ttl == lock.NoExpiry) {
		return invalid("%s.TTL %v: want at least %v, and an end", config, ttl, lock.MinTTL)
	}
	return nil
}

// Lock locks a job's name, without waiting. The error is lock.ErrHeld if another has it, or what keeps Redis from answering;
// gocron passes it to AfterLockError, and leaves the tick out.
func (l *Locker) Lock(ctx context.Context, name string) (gocron.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lease, err := l.locker.TryHold(ctx, lock.Claim{Resource: l.cfg.Prefix + name, TTL: l.cfg.TTL})
	if err != nil {
		return nil, err
	}
	h := &hold{locker: l, name: name, lease: lease, until: time.Now().Add(l.cfg.AtLeast)}
	h.unwatch = context.AfterFunc(lease.Context(), func() {
		if err := context.Cause(lease.Context()); !errors.Is(err, lock.ErrReleased) {
			l.cfg.OnError(name, err)
		}
	})
	return h, nil
}

// Close ends the renewal of locks that are only held for the rest of AtLeast: they run out by themselves, at the end of
// AtLeast or of their lease, whichever is later; so until then the ticks of their jobs are left out. It is called after the schedulers' Shutdown, and before lock.Locker.Close. ctx bounds it.
func (l *Locker) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	var holds []*hold
	var claims []lock.Claim
	for h := range l.kept {
		if !h.timer.Stop() {
			continue // it is being released
		}
		l.ending.Done()
		holds = append(holds, h)
		claims = append(claims, h.claim())
	}
	clear(l.kept)
	l.mu.Unlock()

	var err error
	if len(claims) > 0 {
		_, err = l.locker.Extend(ctx, claims...)
	}
	for _, h := range holds {
		h.lease.Lapse()
	}
	l.ending.Wait()
	return err
}

// hold is a gocron.Lock.
type hold struct {
	locker  *Locker
	name    string
	lease   *lock.Lease
	until   time.Time
	unwatch func() bool
	timer   *time.Timer // while it is kept
}

// Unlock gives the lock back, or has that done when AtLeast is over. gocron's context may have ended, which changes nothing.
func (h *hold) Unlock(context.Context) error {
	h.unwatch()
	rest := time.Until(h.until)
	if rest <= 0 {
		return h.release()
	}
	l := h.locker
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		h.lease.Lapse()
		return nil
	}
	l.ending.Add(1)
	l.kept[h] = struct{}{}
	h.timer = time.AfterFunc(rest, func() {
		defer l.ending.Done()
		l.mu.Lock()
		delete(l.kept, h)
		l.mu.Unlock()
		_ = h.release()
	})
	return nil
}

func (h *hold) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.lease.Release(ctx)
	if err != nil {
		h.locker.cfg.OnError(h.name, err)
	}
	return err
}

// claim has the lock last for the rest of AtLeast, if its lease is over sooner.
func (h *hold) claim() lock.Claim {
	return lock.Claim{Resource: h.lease.Resource(), Owner: h.lease.Owner(), Fence: h.lease.Fence(), TTL: max(time.Until(h.until), lock.MinTTL)}
}
