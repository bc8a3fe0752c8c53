package lock_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestCrowdLearnsTheOutcomeAtOnce: every process that waits for a run is told
// when it is done, also those beyond the 256 that are woken in one step.
func TestCrowdLearnsTheOutcomeAtOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{200, 300} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Real)
			ns := s.Namespace(t)
			rdb := s.Client(t)
			ctx := bounded(t)
			id := lock.JobID{Key: "job", Run: "run"}
			holder, _, err := attempt(ctx, newLockerOn(t, rdb, lock.Config{Namespace: ns}), id, time.Minute, 5)
			wantErr(t, err, nil)
			told := make(chan error, size)
			for range size {
				l := newLockerOn(t, rdb, lock.Config{Namespace: ns}) // an entry in the queue each, commands through one client
				go func() {
					_, _, err := attempt(ctx, l, id, time.Minute, 5)
					told <- err
				}()
			}
			awaitQueue(t, rdb, ns, int64(size))
			wantErr(t, holder.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
			began := time.Now()
			for range size {
				if err := receive(t, "a waiter's answer", told); !errors.Is(err, lock.ErrJobDone) {
					t.Errorf("a waiter was told: %v", err)
				}
			}
			took := time.Since(began)
			t.Logf("%d waiters were told in %v", size, took)
			if took > 3*time.Second {
				t.Errorf("%d waiters were told in %v", size, took)
			}
			awaitQueue(t, rdb, ns, 0)
		})
	}
}
