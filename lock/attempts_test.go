package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestG8AttemptsCountedOnce: replies are lost after execution, of claims and
// settlements alike. What is counted is what was granted, and never above the maximum.
func TestG8AttemptsCountedOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns := s.Namespace(t)
	const runs, contenders, most = 12, 4, 5
	ctx := bounded(t)
	granted := make([]map[int64]int, runs) // attempt's number, by fence
	for i := range granted {
		granted[i] = make(map[int64]int)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	work, stop := context.WithCancel(ctx)
	for range contenders {
		l, p := newProxied(t, s, lock.Config{Namespace: ns})
		all.Go(func() { loseReplies(work, p) })
		for i := range runs {
			all.Go(func() {
				id := lock.JobID{Key: fmt.Sprint("job", i), Run: "run"}
				for {
					lease, res, err := attempt(ctx, l, id, 10*time.Second, most)
					if errors.Is(err, lock.ErrJobExhausted) {
						return
					}
					if err != nil {
						t.Errorf("Await: %v", err)
						return
					}
					mu.Lock()
					if n, twice := granted[i][res.Grant.Fence]; twice {
						t.Errorf("fence %d was granted for attempts %d and %d", res.Grant.Fence, n, res.Job.Attempt)
					}
					granted[i][res.Grant.Fence] = res.Job.Attempt
					mu.Unlock()
					if err := lease.Settle(ctx, lock.Settlement{End: lock.Failed}); err != nil {
						t.Errorf("Settle: %v", err)
						return
					}
				}
			})
		}
	}
	l := newLocker(t, s, lock.Config{Namespace: ns})
	ids := make([]lock.JobID, runs)
	for i := range ids {
		ids[i] = lock.JobID{Key: fmt.Sprint("job", i), Run: "run"}
	}
	eventually(t, "the end of every run", func() bool {
		infos := must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, ids...))
		return !slices.ContainsFunc(infos, func(i lock.JobInfo) bool { return i.State != lock.JobExhausted }) || t.Failed()
	})
	stop()
	all.Wait()
	for i, info := range must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, ids...)) {
		counted := 0
		for _, a := range info.Attempts {
			if a.End != "returned" {
				counted++
			}
		}
		if info.Attempt != most || counted != most || len(granted[i]) != most {
			t.Errorf("run %d: %d attempts counted, %d in the record, %d granted: want %d of each", i, info.Attempt, counted, len(granted[i]), most)
		}
		for _, a := range info.Attempts {
			if a.End != "returned" && granted[i][a.Fence] != a.Number {
				t.Errorf("run %d: attempt %d has fence %d, which was granted for attempt %d", i, a.Number, a.Fence, granted[i][a.Fence])
			}
		}
	}
}

// loseReplies loses a third of the replies of scripts, until ctx ends.
func loseReplies(ctx context.Context, p *redistest.Proxy) {
	defer p.Heal()
	script := redistest.Named("evalsha", "eval")
	for i := 0; ctx.Err() == nil; i++ {
		then := redistest.ThenCut
		if i%4 == 3 {
			then = redistest.ThenHang
		}
		loss := p.DropReplies(func(command []string) bool { return script(command) && rand.IntN(3) == 0 }, 1+rand.IntN(2), then)
		select {
		case <-loss.Done():
		case <-ctx.Done():
		}
		pass(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
	}
}

func TestG8AttemptsGivenBackAreNotCounted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l := newLocker(t, s, lock.Config{})
	ctx := bounded(t)
	id := lock.JobID{Key: "job", Run: "run"}
	for round := range 10 {
		g := must[[]lock.JobResult](t)(l.Jobs().Claim(ctx, lock.JobClaim{ID: id, MaxAttempts: 1}))[0]
		if g.Job.Attempt != 1 {
			t.Fatalf("round %d: attempt %d", round, g.Job.Attempt)
		}
		must[lock.Results](t)(l.Jobs().Settle(ctx, lock.Settlement{Grant: g.Grant, ID: id, End: lock.Returned}))
		if info := must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, id))[0]; info.Attempt != 0 || info.State != lock.JobAbsent {
			t.Fatalf("round %d: the run is %+v", round, info)
		}
	}
}
