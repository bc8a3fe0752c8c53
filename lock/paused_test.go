//go:build unix

package lock_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestG2PausedHolderLosesItsLeaseWhenItRunsAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	const ttl = 500 * time.Millisecond
	c := spawn(t, s, order{Role: "holder", Namespace: ns, Resource: "r", TTL: ttl})
	c.await("waits")
	fence := c.await("granted").Fence
	c.signal(syscall.SIGSTOP)
	lease := must[*lock.Lease](t)(newLocker(t, s, lock.Config{Namespace: ns}).Hold(bounded(t), lock.Claim{Resource: "r"}))
	if lease.Fence() <= fence {
		t.Errorf("fence %d after %d", lease.Fence(), fence)
	}
	c.signal(syscall.SIGCONT)
	began := time.Now()
	if st := c.await("lost"); st.Cause != lock.ErrLeaseLost.Error() {
		t.Errorf("the lease ended with %q", st.Cause)
	}
	if took := time.Since(began); took > noise {
		t.Errorf("it took %v until the lease's context ended", took)
	}
	wantErr(t, lease.Release(bounded(t)), nil)
}

// TestG4G5PausedWorkerCannotSettle: a worker is stopped for three lease times,
// another one takes over and settles. The first then passes over the check of
// its own lease, and reaches Redis.
func TestG4G5PausedWorkerCannotSettle(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Real)
	ns := s.Namespace(t)
	rdb := s.Client(t)
	const ttl = 500 * time.Millisecond
	id := lock.JobID{Key: "job", Run: "run"}
	c := spawn(t, s, order{Role: "worker", Namespace: ns, Resource: id.Key, Run: id.Run, TTL: ttl, Max: 3})
	first := c.await("granted")
	c.signal(syscall.SIGSTOP)
	over := time.After(3 * ttl)
	lease, res, err := attempt(bounded(t), newLocker(t, s, lock.Config{Namespace: ns}), id, ttl, 3)
	wantErr(t, err, nil)
	if res.Job.Attempt != 2 || res.Grant.Fence <= first.Fence {
		t.Errorf("attempt %d with fence %d after attempt %d with fence %d", res.Job.Attempt, res.Grant.Fence, first.Attempt, first.Fence)
	}
	wantErr(t, lease.Settle(bounded(t), lock.Settlement{End: lock.Done}), nil)
	<-over
	before := snapshot(t, rdb, ns)
	c.signal(syscall.SIGCONT)
	if st := c.await("lost"); st.Cause != lock.ErrLeaseLost.Error() {
		t.Errorf("the lease ended with %q", st.Cause)
	}
	if st := c.await("settled"); st.Cause == "<nil>" || !contains(st.Cause, lock.ErrLeaseLost.Error()) {
		t.Errorf("the stale worker's Done: %q", st.Cause)
	}
	c.await("end")
	if after := snapshot(t, rdb, ns); after != before {
		t.Errorf("a stale Done has changed\n%s\nto\n%s", before, after)
	}
}
