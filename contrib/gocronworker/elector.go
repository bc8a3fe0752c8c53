package gocronworker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-co-op/gocron/v2"

	"github.com/lockingworker/lockingworker/lock"
)

// ErrNotLeader is what Elector.IsLeader returns where another process leads, or none.
var ErrNotLeader = errors.New("gocronworker: not the leader")

// ElectorConfig says how an Elector stands for election. The zero value is usable.
type ElectorConfig struct {
	// Resource is the lock that makes a leader. Default "gocron/leader".
	Resource string
	// TTL is the lease time: so long after the leader's death another process leads. Default: lock.Config.TTL of the Locker.
	TTL time.Duration
	// OnChange is told when this process begins and ceases to lead, one after the other. Default: nobody is told.
	OnChange func(leads bool)
	// OnError is told why this process could not stand for election, such as a wrong password, each time that it tries; and
	// what went wrong when it stepped down. Default: nobody is told.
	OnError func(error)
}

// Elector is a [gocron.Elector]: one process leads, and runs all jobs, until it is closed or loses its lease; then another
// does. It cannot promise one run per tick: between two leaders ticks are left out; when the clocks differ, the next leader
// may run a tick once more, which the last one ran, or leave it out; a job that failed is not repeated; and one that runs
// when the lead is lost goes on beside the next leader's, since gocron's Elector cannot stop it. [NewJob] has none of that, and
// can be used with an Elector as well.
//
// gocron asks the Elector alone where there is one, and no Locker.
type Elector struct {
	locker *lock.Locker
	cfg    ElectorConfig
	lease  atomic.Pointer[lock.Lease]
	failed atomic.Pointer[error]
	stop   context.CancelFunc
	done   chan struct{}
}

var _ gocron.Elector = (*Elector)(nil)

// NewElector makes one that stands for election from now on, until Close.
func NewElector(l *lock.Locker, cfg ElectorConfig) (*Elector, error) {
	err := checkTTL("ElectorConfig", cfg.TTL)
	if l == nil {
		err = errors.Join(invalid("lock.Locker is nil"), err)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Resource == "" {
		cfg.Resource = "gocron/leader"
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(bool) {}
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &Elector{locker: l, cfg: cfg, stop: stop, done: make(chan struct{})}
	go e.stand(ctx)
	return e, nil
}

// IsLeader is nil if this process leads, and otherwise ErrNotLeader, joined with the reason while it cannot stand for election.
// It answers at once, from what is known here: it asks nobody.
func (e *Elector) IsLeader(context.Context) error {
	if lease := e.lease.Load(); lease != nil && lease.Context().Err() == nil && time.Now().Before(lease.Deadline()) {
		return nil
	}
	if err := e.failed.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, *err)
	}
	return ErrNotLeader
}

// Close steps down, for good, so that another process leads at once. It is called after the scheduler's Shutdown, so that no
// job runs any more. It waits until the lock is given back, until ctx ends: its error is then ctx's cause.
func (e *Elector) Close(ctx context.Context) error {
	e.stop()
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stand leads whenever it can.
func (e *Elector) stand(ctx context.Context) {
	defer close(e.done)
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		e.failed.Store(nil) // it stands in line again
		lease, err := e.locker.Hold(ctx, lock.Claim{Resource: e.cfg.Resource, TTL: e.cfg.TTL})
		switch {
		case err == nil:
			pauses.Reset()
			e.lead(ctx, lease)
		case ctx.Err() != nil:
			return
		default:
			e.failed.Store(&err)
			e.cfg.OnError(err)
			if errors.Is(err, lock.ErrClosed) {
				return
			}
			pause := time.NewTimer(pauses.NextBackOff())
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
			}
		}
	}
}

// lead leads until the lease is lost, or ctx ends: then it gives it back.
func (e *Elector) lead(ctx context.Context, lease *lock.Lease) {
	e.lease.Store(lease)
	e.cfg.OnChange(true)
	select {
	case <-ctx.Done():
	case <-lease.Context().Done():
	}
	e.lease.Store(nil)
	if ctx.Err() != nil && lease.Context().Err() == nil {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := lease.Release(release); err != nil {
			e.cfg.OnError(err)
		}
	} else {
		e.cfg.OnError(context.Cause(lease.Context()))
	}
	e.cfg.OnChange(false)
}
