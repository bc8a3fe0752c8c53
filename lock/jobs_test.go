package lock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// A desk claims and settles attempts at jobs, for tests that look at the record.
type desk struct {
	t testing.TB
	l *lock.Locker
}

func (d desk) claim(c lock.JobClaim) (lock.JobResult, error) {
	d.t.Helper()
	rs, err := d.l.Jobs().Claim(bounded(d.t), c)
	if len(rs) != 1 {
		d.t.Fatalf("%d results, %v", len(rs), err)
	}
	return rs[0], err
}

func (d desk) granted(c lock.JobClaim) lock.JobResult {
	d.t.Helper()
	r, err := d.claim(c)
	wantErr(d.t, err, nil)
	return r
}

// settle ends the attempt that was granted to c.
func (d desk) settle(r lock.JobResult, s lock.Settlement) {
	d.t.Helper()
	s.Grant, s.ID = r.Grant, r.Job.ID
	_, err := d.l.Jobs().Settle(bounded(d.t), s)
	wantErr(d.t, err, nil)
}

func (d desk) get(id lock.JobID) lock.JobInfo {
	d.t.Helper()
	infos, err := d.l.Jobs().Get(bounded(d.t), id)
	wantErr(d.t, err, nil)
	return infos[0]
}

func TestAttemptsAreCountedUntilExhausted(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j", Run: "1"}, Owner: "me", MaxAttempts: 3, Retention: time.Hour}
		if info := d.get(c.ID); info.State != lock.JobAbsent || info.Attempt != 0 || info.ID != c.ID {
			t.Errorf("before: %+v", info)
		}
		var last int64
		for n := 1; n <= 3; n++ {
			r := d.granted(c)
			if r.Job.Attempt != n || r.Job.Max != 3 || r.Job.State != lock.JobRunning || r.Grant.Fence <= last || r.Grant.Owner != "me" {
				t.Fatalf("attempt %d: %+v", n, r)
			}
			last = r.Grant.Fence
			running := d.get(c.ID)
			if running.State != lock.JobRunning || running.Owner != "me" || running.Fence != last || running.TTL <= 0 || len(running.Attempts) != n {
				t.Errorf("while running: %+v", running)
			}
			d.settle(r, lock.Settlement{End: lock.Failed, Cause: fmt.Sprint("cause ", n), Retention: time.Hour})
			want := lock.JobFailed
			if n == 3 {
				want = lock.JobExhausted // by the failure of the last attempt, at once
			}
			if info := d.get(c.ID); info.State != want || info.Cause != fmt.Sprint("cause ", n) || info.Attempt != n || info.TTL != 0 {
				t.Errorf("after %d failures: %+v, want %v", n, info, want)
			}
		}
		r, err := d.claim(c)
		wantErr(t, err, lock.ErrJobExhausted)
		if r.Job.Attempt != 3 || r.Job.Cause != "cause 3" || r.Job.State != lock.JobExhausted || r.Job.Permanent {
			t.Errorf("refused: %+v", r)
		}
		// A larger maximum lifts it, and only that.
		_, err = d.claim(lock.JobClaim{ID: c.ID, MaxAttempts: 2})
		wantErr(t, err, lock.ErrJobExhausted)
		more := c
		more.MaxAttempts = 5
		if r = d.granted(more); r.Job.Attempt != 4 || r.Job.Max != 5 {
			t.Errorf("lifted: %+v", r)
		}
		for i, a := range r.Job.Attempts[:3] {
			if a.Number != i+1 || a.Owner != "me" || a.End != "failed" || a.Cause != fmt.Sprint("cause ", i+1) ||
				a.Granted.IsZero() || a.Ended.Before(a.Granted) || a.Fence == 0 {
				t.Errorf("history %d: %+v", i, a)
			}
		}
	})
}

func TestPermanentIsNotLiftedByALargerMaximum(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 5}
		d.settle(d.granted(c), lock.Settlement{End: lock.Exhausted, Cause: "hopeless"})
		c.MaxAttempts = 100
		r, err := d.claim(c)
		wantErr(t, err, lock.ErrJobExhausted)
		if !r.Job.Permanent || r.Job.Attempt != 1 || r.Job.Cause != "hopeless" || r.Job.Attempts[0].End != "exhausted" {
			t.Errorf("refused: %+v", r)
		}
		wantErr(t, d.l.Jobs().Reset(bounded(t), c.ID), nil)
		if r := d.granted(c); r.Job.Attempt != 1 || len(r.Job.Attempts) != 1 {
			t.Errorf("after Reset: %+v", r)
		}
	})
}

func TestReturnedAttemptsAreNotCounted(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 1}
		for range 5 {
			r := d.granted(c)
			if r.Job.Attempt != 1 {
				t.Fatalf("attempt %d", r.Job.Attempt)
			}
			d.settle(r, lock.Settlement{End: lock.Returned})
			if info := d.get(c.ID); info.Attempt != 0 || info.State != lock.JobAbsent {
				t.Fatalf("given back: %+v", info)
			}
		}
		d.settle(d.granted(c), lock.Settlement{End: lock.Done})
		info := d.get(c.ID)
		if info.State != lock.JobDone || info.Attempt != 1 || len(info.Attempts) != 6 || info.Attempts[0].End != "returned" || info.Attempts[5].End != "done" {
			t.Errorf("in the end: %+v", info)
		}
	})
}

func TestDoneIsRemembered(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j", Run: "monday"}, Owner: "me", MaxAttempts: 5}
		r := d.granted(c)
		d.settle(r, lock.Settlement{End: lock.Done})
		d.settle(r, lock.Settlement{End: lock.Done}) // again: remembers itself
		for _, end := range []lock.End{lock.Failed, lock.Returned, lock.Exhausted} {
			_, err := d.l.Jobs().Settle(bounded(t), lock.Settlement{Grant: r.Grant, ID: c.ID, End: end})
			wantErr(t, err, lock.ErrLeaseLost)
		}
		c.MaxAttempts = 100
		late, err := d.claim(c)
		wantErr(t, err, lock.ErrJobDone)
		if late.Job.State != lock.JobDone || late.Job.Owner != "me" || late.Job.Attempt != 1 {
			t.Errorf("who comes late is told %+v", late)
		}
		_, told, err := d.l.Jobs().Await(bounded(t), c)
		wantErr(t, err, lock.ErrJobDone)
		if told.Job.State != lock.JobDone {
			t.Errorf("Await is told %+v", told)
		}
		other := c
		other.ID.Run = "tuesday"
		if r := d.granted(other); r.Job.Attempt != 1 {
			t.Errorf("another run: %+v", r)
		}
	})
}

func TestDelayKeepsTheNextAttemptBack(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 5}
		const delay = 700 * time.Millisecond
		before := time.Now()
		d.settle(d.granted(c), lock.Settlement{End: lock.Failed, Delay: delay})
		r, err := d.claim(c)
		wantErr(t, err, lock.ErrTooEarly)
		if at := r.Job.NotBefore; at.Before(before.Add(delay-time.Second)) || at.After(time.Now().Add(delay+time.Second)) || r.Grant.Owner != "" {
			t.Errorf("refused: %+v", r)
		}
		_, tried, err := d.l.Jobs().TryAwait(bounded(t), c)
		wantErr(t, err, lock.ErrTooEarly)
		if tried.Job.NotBefore.IsZero() {
			t.Errorf("TryAwait: %+v", tried)
		}
		// Another run, and the plain lock, are not kept back.
		other := d.granted(lock.JobClaim{ID: lock.JobID{Key: "j", Run: "2"}, MaxAttempts: 1})
		d.settle(other, lock.Settlement{End: lock.Done})
		le, got, err := d.l.Jobs().Await(bounded(t), c)
		wantErr(t, err, nil)
		if time.Since(before) < delay || got.Job.Attempt != 2 {
			t.Errorf("granted after %v: %+v", time.Since(before), got)
		}
		wantErr(t, le.Settle(bounded(t), lock.Settlement{End: lock.Done}), nil)
		wantErr(t, ended(t, le.Context()), lock.ErrReleased)
	})
}

func TestExclusionHoldsAcrossRunsAndForThePlainLock(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		d := desk{t, w.locker(t, lock.Config{})}
		one := lock.JobClaim{ID: lock.JobID{Key: "j", Run: "1"}, Owner: "worker", MaxAttempts: 9}
		two := lock.JobClaim{ID: lock.JobID{Key: "j", Run: "2"}, Owner: "other", MaxAttempts: 9}
		r := d.granted(one)
		refused, err := d.claim(two)
		wantErr(t, err, lock.ErrHeld)
		if refused.Grant.Owner != "worker" || refused.Grant.Fence != r.Grant.Fence || refused.Grant.TTL <= 0 || refused.Job.State != lock.JobAbsent {
			t.Errorf("refused: %+v", refused)
		}
		rs, err := d.l.TryLock(ctx, lock.Claims("plain", "j")...)
		wantErr(t, err, lock.ErrHeld)
		if rs[0].Owner != "worker" {
			t.Errorf("plain: %+v", rs[0])
		}
		if found := must[lock.Results](t)(d.l.Owners(ctx, "j")); found[0].Owner != "worker" || found[0].Fence != r.Grant.Fence {
			t.Errorf("Owners: %+v", found[0])
		}
		d.settle(r, lock.Settlement{End: lock.Done})
		must[lock.Results](t)(d.l.TryLock(ctx, lock.Claims("plain", "j")...))
		refused, err = d.claim(two)
		wantErr(t, err, lock.ErrHeld)
		if refused.Grant.Owner != "plain" {
			t.Errorf("refused: %+v", refused)
		}
		must[lock.Results](t)(d.l.Unlock(ctx, lock.Claims("plain", "j")...))
		d.granted(two)
	})
}

func TestJobsAnswerEachInputInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		d := desk{t, w.locker(t, lock.Config{})}
		id := func(key string) lock.JobID { return lock.JobID{Key: key, Run: "r"} }
		d.settle(d.granted(lock.JobClaim{ID: id("done"), MaxAttempts: 1}), lock.Settlement{End: lock.Done})
		d.settle(d.granted(lock.JobClaim{ID: id("failed"), MaxAttempts: 1}), lock.Settlement{End: lock.Failed})
		d.settle(d.granted(lock.JobClaim{ID: id("early"), MaxAttempts: 2}), lock.Settlement{End: lock.Failed, Delay: time.Hour})
		held := d.granted(lock.JobClaim{ID: id("held"), MaxAttempts: 1})
		keys := []string{"held", "fresh", "done", "failed", "", "early", "fresh2"}
		want := []error{lock.ErrHeld, nil, lock.ErrJobDone, lock.ErrJobExhausted, lock.ErrInvalid, lock.ErrTooEarly, nil}
		claims := make([]lock.JobClaim, len(keys))
		for i, key := range keys {
			claims[i] = lock.JobClaim{ID: id(key), MaxAttempts: 1}
		}
		claims[5].MaxAttempts = 2
		rs, err := d.l.Jobs().Claim(ctx, claims...)
		var batch *lock.BatchError
		if !errors.As(err, &batch) || len(batch.Results) != len(keys) {
			t.Fatalf("error %v", err)
		}
		for i, r := range rs {
			if r.Job.ID.Key != keys[i] || r.Grant.Resource != keys[i] || !errors.Is(r.Grant.Err, want[i]) {
				t.Errorf("result %d is %+v, want %v", i, r, want[i])
			}
		}
		settled, err := d.l.Jobs().Settle(ctx,
			lock.Settlement{Grant: lock.Result{Fence: held.Grant.Fence + 1}, ID: id("held"), End: lock.Done},
			lock.Settlement{Grant: rs[1].Grant, ID: id("fresh"), End: lock.Done},
			lock.Settlement{Grant: rs[1].Grant, ID: id("nothing"), End: lock.Done},
			lock.Settlement{Grant: rs[6].Grant, ID: id("fresh2"), End: lock.Failed})
		for i, want := range []error{lock.ErrLeaseLost, nil, lock.ErrLeaseLost, nil} {
			if !errors.Is(settled[i].Err, want) {
				t.Errorf("settled %d: %v, want %v", i, settled[i].Err, want)
			}
		}
		wantErr(t, err, lock.ErrLeaseLost)
		err = d.l.Jobs().Reset(ctx, id("done"), id("held"), id("nothing"))
		wantErr(t, err, lock.ErrHeld)
		if info := d.get(id("held")); info.State != lock.JobRunning {
			t.Errorf("held is %+v after a refused Reset", info)
		}
		if info := d.get(id("done")); info.State != lock.JobAbsent || len(info.Attempts) != 0 {
			t.Errorf("done is %+v after Reset", info)
		}
	})
}

func TestJobsListSelects(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		for i, key := range names("a/", 6) {
			r := d.granted(lock.JobClaim{ID: lock.JobID{Key: key, Run: "x"}, Owner: fmt.Sprint("w", i%2), MaxAttempts: 5})
			if i < 2 {
				d.settle(r, lock.Settlement{End: lock.Done})
			} else if i < 4 {
				d.settle(r, lock.Settlement{End: lock.Failed})
			}
		}
		d.granted(lock.JobClaim{ID: lock.JobID{Key: "b"}, Owner: "w9", MaxAttempts: 5})
		for _, c := range []struct {
			q    lock.JobQuery
			want int
		}{
			{lock.JobQuery{}, 7},
			{lock.JobQuery{Prefix: "a/"}, 6},
			{lock.JobQuery{Owner: "w1"}, 3},
			{lock.JobQuery{State: lock.JobDone}, 2},
			{lock.JobQuery{Prefix: "a", Owner: "w0", State: lock.JobFailed}, 1},
			{lock.JobQuery{State: lock.JobRunning}, 3},
			{lock.JobQuery{State: lock.JobExhausted}, 0},
		} {
			n := 0
			for info, err := range d.l.Jobs().List(bounded(t), c.q) {
				wantErr(t, err, nil)
				got := d.get(info.ID)
				if info.Attempt != 1 || info.State != got.State || (info.TTL > 0) != (got.TTL > 0) {
					t.Errorf("listed %+v, got %+v", info, got)
				}
				n++
			}
			if n != c.want {
				t.Errorf("%+v found %d, want %d", c.q, n, c.want)
			}
		}
	})
}

func TestAwaitIsWokenAndTold(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		ctx := bounded(t)
		d := desk{t, w.locker(t, lock.Config{})}
		waiter := w.locker(t, lock.Config{Owner: "waiter"})
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, MaxAttempts: 3}
		first := d.granted(c)
		looks := make(chan lock.Look, 100)
		waiting := c
		waiting.OnLook = func(k lock.Look) { looks <- k }
		type got struct {
			le  *lock.JobLease
			r   lock.JobResult
			err error
		}
		come := make(chan got, 1)
		go func() {
			le, r, err := waiter.Jobs().Await(ctx, waiting)
			come <- got{le, r, err}
		}()
		if k := receive(t, "a look", looks); k.Again || k.Err != nil || !errors.Is(k.Result.Grant.Err, lock.ErrHeld) || k.Result.Job.Attempt != 1 {
			t.Errorf("first look %+v", k)
		}
		eventually(t, "nobody is counted as waiting", func() bool { return d.get(c.ID).Waiters == 1 })
		d.settle(first, lock.Settlement{End: lock.Failed, Cause: "why"})
		g := receive(t, "the hand-over", come)
		wantErr(t, g.err, nil)
		if g.r.Job.Attempt != 2 || g.le.Job().Attempt != 2 || g.le.Grant().Owner != "waiter" || !g.le.Deadline().After(time.Now()) {
			t.Errorf("handed over: %+v", g.r)
		}
		if a := g.r.Job.Attempts[0]; a.Cause != "why" || a.End != "failed" {
			t.Errorf("the attempt before: %+v", a)
		}
		wantErr(t, g.le.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
		if info := d.get(c.ID); info.State != lock.JobDone || info.Waiters != 0 {
			t.Errorf("in the end: %+v", info)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		d := desk{t, w.locker(t, lock.Config{})}
		c := lock.JobClaim{ID: lock.JobID{Key: "j"}, Owner: "first", MaxAttempts: 3}
		d.granted(c)
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		le, r, err := d.l.Jobs().Await(ctx, c)
		wantErr(t, err, context.DeadlineExceeded)
		wantErr(t, err, lock.ErrHeld)
		if le != nil || r.Grant.Owner != "first" {
			t.Errorf("told %+v", r)
		}
		eventually(t, "who left still waits", func() bool { return d.get(c.ID).Waiters == 0 })
	})
}
