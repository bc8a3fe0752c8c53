package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/lock"
)

// replica is one process of the service.
type replica struct {
	Number int
	Redis  string
	Leader string // the lock's name
	Lease  time.Duration
	Every  time.Duration
}

func (r replica) main() int {
	ctx, stop := demo.ChildContext()
	defer stop()
	if err := r.serve(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "replica %d: %v\n", r.Number, err)
		return 1
	}
	return 0
}

// serve would also do what every replica does. It returns when ctx ends: when the process is told to.
func (r replica) serve(ctx context.Context) error {
	client, err := demo.Connect(r.Redis)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	locker, err := lock.New(client, lock.Config{TTL: r.Lease})
	if err != nil {
		return err
	}
	defer func() { _ = locker.Close() }()
	for {
		r.tell(report{Event: eventWaits})
		lease, err := locker.Hold(ctx, lock.Claim{Resource: r.Leader})
		if ctx.Err() != nil && lease == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.lead(ctx, lease); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// lead does what only the leader may do, until the process is told to end or the lease is lost. It must not go on after
// either: whatever the leader starts gets a context that ends with both, here that of write.
func (r replica) lead(ctx context.Context, lease *lock.Lease) error {
	r.tell(report{Event: eventLeads, Fence: lease.Fence()})
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.write(lease.Context(), lease.Fence())
		case <-lease.Context().Done(): // another may lead already
			r.tell(report{Event: eventLost, Fence: lease.Fence(), Text: context.Cause(lease.Context()).Error()})
			return nil
		case <-ctx.Done():
			r.tell(report{Event: eventSteps, Fence: lease.Fence()})
			return r.release(lease) // so that the next one need not wait for the end of the lease
		}
	}
}

// write is the leader's work. The lease may be lost in the middle of it: so the fence goes along.
func (r replica) write(ctx context.Context, fence int64) {
	if ctx.Err() == nil {
		r.tell(report{Event: eventWrites, Fence: fence})
	}
}

// release has a context of its own: that of the process has ended.
func (r replica) release(lease *lock.Lease) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := lease.Release(ctx)
	if errors.Is(err, lock.ErrLeaseLost) {
		r.tell(report{Event: eventLost, Fence: lease.Fence(), Text: err.Error()})
		return nil
	}
	return err
}
