package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// outcomes are what came of claims, in a word each.
func outcomes(rs []lock.JobResult) []string {
	var words []string
	for _, r := range rs {
		word := "granted"
		for is, err := range map[string]error{
			"enough": lock.ErrEnough, "held": lock.ErrHeld, "done": lock.ErrJobDone, "exhausted": lock.ErrJobExhausted,
			"early": lock.ErrTooEarly, "corrupt": lock.ErrCorruptState, "invalid": lock.ErrInvalid,
		} {
			if errors.Is(r.Grant.Err, err) {
				word = is
			}
		}
		words = append(words, word)
	}
	return words
}

// TestSomeAreClaimedAsAllAre: what TryAwaitSome decides in a way of its own it decides as Claim does, and leaves the
// same behind; also with Publish, and where somebody waits.
func TestSomeAreClaimedAsAllAre(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	const brief = 500 * time.Millisecond
	answers := func(some, publish, waiting bool) []string {
		cfg := lock.Config{Namespace: s.Namespace(t), Publish: publish, TTL: time.Minute}
		l := newLocker(t, s, cfg)
		rdb := s.Client(t)
		d := desk{t, l}
		claims := jobClaims(14)
		settle := func(c lock.JobClaim, s lock.Settlement) {
			s.Retention = c.Retention
			d.settle(d.granted(c), s)
		}
		short := func(i int) *lock.JobClaim { // its lease, or its retention, will be over
			claims[i].TTL = brief
			return &claims[i]
		}
		settle(claims[0], lock.Settlement{End: lock.Done})
		settle(claims[1], lock.Settlement{End: lock.Failed})
		settle(claims[1], lock.Settlement{End: lock.Done})
		settle(claims[2], lock.Settlement{End: lock.Failed})
		settle(claims[3], lock.Settlement{End: lock.Failed, Delay: time.Hour})
		settle(claims[4], lock.Settlement{End: lock.Exhausted, Cause: "why"})
		for range claims[5].MaxAttempts {
			settle(claims[5], lock.Settlement{End: lock.Failed, Cause: "once more"})
		}
		settle(claims[6], lock.Settlement{End: lock.Returned})
		d.granted(claims[7])
		d.granted(*short(8))
		other := claims[9]
		other.ID.Run = "2" // of the same key
		d.granted(other)
		must[lock.Results](t)(l.TryLock(bounded(t), lock.Claim{Resource: claims[10].ID.Key, Owner: "plain", TTL: time.Minute}))
		short(11).Retention = lock.MinTTL
		settle(claims[11], lock.Settlement{End: lock.Done})
		must[lock.Results](t)(l.TryLock(bounded(t), lock.Claim{Resource: "beside", Owner: "plain", TTL: brief}))
		if waiting {
			ctx, leave := context.WithCancel(bounded(t))
			t.Cleanup(leave)
			go func() { _, _, _ = l.Jobs().Await(ctx, claims[7]) }()
			awaitQueue(t, rdb, cfg.Namespace, 1)
		}
		pass(t.Context(), 2*brief+10*time.Millisecond)
		var lines []string
		look := func(claims ...lock.JobClaim) {
			var rs []lock.JobResult
			var err error
			if some {
				_, rs, err = l.Jobs().TryAwaitSome(bounded(t), len(claims), claims...)
			} else {
				_, rs, err = l.Jobs().TryAwaitAll(bounded(t), claims...)
			}
			if err == nil {
				t.Error("all were granted")
			}
			for i, r := range rs {
				line := fmt.Sprintf("%q: %v, by somebody %v, %v, attempt %d", r.Job.ID.Key, r.Grant.Err, r.Grant.Owner != "", r.Job.State, r.Job.Attempt)
				if r.Job.State != lock.JobDone { // of which no more is told
					line += fmt.Sprintf(" of %d, %d remembered, by %d, %q, early %v", r.Job.Max, len(r.Job.Attempts), len(r.Job.Owner), r.Job.Cause, !r.Job.NotBefore.IsZero())
				}
				if r.Grant.Err == nil {
					line += fmt.Sprintf(", for %v", r.Grant.TTL)
					if r.Job.Fence != r.Grant.Fence || d.get(claims[i].ID).Fence != r.Grant.Fence {
						t.Errorf("%+v has another fence in Redis: %+v", r, d.get(claims[i].ID))
					}
				}
				lines = append(lines, line)
			}
			lines = append(lines, shardText(t, rdb, cfg.Namespace))
		}
		look(claims[:2]...)
		look(claims[0], claims[12], claims[11]) // nothing was there, and what is forgotten
		look(claims...)                         // 13 had nothing, either
		look(claims...)
		return lines
	}
	for _, waiting := range []bool{false, true} {
		want := answers(false, false, waiting)
		for _, publish := range []bool{false, true} {
			got := answers(true, publish, waiting)
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("publish %v, waiting %v: TryAwaitSome:\n%s\nTryAwaitAll:\n%s", publish, waiting, got[i], want[i])
				}
			}
		}
	}
}

func TestEnoughAreClaimed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{Shards: 1})
		d := desk{t, l}
		claims := jobClaims(10)
		d.settle(d.granted(claims[1]), lock.Settlement{End: lock.Done, Retention: time.Hour})
		d.settle(d.granted(claims[2]), lock.Settlement{End: lock.Failed, Retention: time.Hour})
		d.granted(claims[4])
		d.settle(d.granted(claims[8]), lock.Settlement{End: lock.Done, Retention: time.Hour})
		d.granted(claims[9])
		for _, step := range []struct {
			n    int
			want []string
		}{
			{0, []string{"enough", "done", "enough", "enough", "held", "enough", "enough", "enough", "done", "held"}},
			{3, []string{"granted", "done", "granted", "granted", "held", "enough", "enough", "enough", "done", "held"}},
			{1, []string{"held", "done", "held", "held", "held", "granted", "enough", "enough", "done", "held"}},
			{-1, []string{"held", "done", "held", "held", "held", "held", "enough", "enough", "done", "held"}},
			{9, []string{"held", "done", "held", "held", "held", "held", "granted", "granted", "done", "held"}},
		} {
			leases, rs, err := l.Jobs().TryAwaitSome(bounded(t), step.n, claims...)
			if err == nil || len(leases) != len(claims) {
				t.Fatalf("%d leases, %v", len(leases), err)
			}
			if got := outcomes(rs); !slices.Equal(got, step.want) {
				t.Errorf("%d of them: %v, want %v", step.n, got, step.want)
			}
			for i, r := range rs {
				if r.Job.ID != claims[i].ID || r.Grant.Resource != claims[i].ID.Key {
					t.Errorf("result %d is of %v", i, r.Job.ID)
				}
				switch granted := r.Grant.Err == nil; {
				case granted != (leases[i] != nil):
					t.Errorf("job %d: %v, %v", i, leases[i], r.Grant.Err)
				case granted && d.get(claims[i].ID).Fence != leases[i].Grant().Fence:
					t.Errorf("job %d: %+v, in Redis %+v", i, leases[i].Grant(), d.get(claims[i].ID))
				case granted && fmt.Sprint(leases[i].Job()) != fmt.Sprint(r.Job):
					t.Errorf("job %d: %+v, %+v", i, leases[i].Job(), r.Job)
				}
			}
		}
	})
}

// On several shards, and in several calls, about n are granted: at most one more for each call.
func TestEnoughAreClaimedInSeveralCalls(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		l := w.locker(t, lock.Config{Shards: 8})
		claims := jobClaims(1200)
		for i := range claims { // not all alike
			claims[i].MaxAttempts += i % 2
		}
		leases, rs, err := l.Jobs().TryAwaitSome(bounded(t), 100, claims...)
		wantErr(t, err, lock.ErrEnough)
		var settlements []lock.Settlement
		for i, le := range leases {
			if le != nil {
				settlements = append(settlements, lock.Settlement{Lease: le, End: lock.Done, Retention: time.Hour})
			} else if !errors.Is(rs[i].Grant.Err, lock.ErrEnough) {
				t.Errorf("job %d: %v", i, rs[i].Grant.Err)
			}
		}
		if n := len(settlements); n < 100 || n > 116 {
			t.Errorf("%d were granted", n)
		}
		if _, err := l.Jobs().Settle(bounded(t), settlements...); err != nil {
			t.Error(err)
		}
		_, rs, _ = l.Jobs().TryAwaitSome(bounded(t), 0, claims...)
		for i, r := range rs {
			if done := errors.Is(r.Grant.Err, lock.ErrJobDone); done != (leases[i] != nil) {
				t.Errorf("job %d: %v", i, r.Grant.Err)
			}
		}
	})
}

func TestSomeOfAKeyTwice(t *testing.T) {
	t.Parallel()
	l := newLocker(t, redistest.Start(t, redistest.Any), lock.Config{})
	claims := jobClaims(3)
	claims[1].ID.Key, claims[1].ID.Run = claims[0].ID.Key, "2"
	claims[2].MaxAttempts = 0
	_, rs, err := l.Jobs().TryAwaitSome(bounded(t), math.MaxInt, claims...)
	wantErr(t, err, lock.ErrInvalid)
	if got := outcomes(rs); !slices.Equal(got, []string{"granted", "invalid", "invalid"}) {
		t.Errorf("%v", got)
	}
	if _, rs, err = l.Jobs().TryAwaitSome(bounded(t), 3); err != nil || len(rs) != 0 {
		t.Errorf("of nothing: %v, %v", rs, err)
	}
}

// A reply is lost: the claim that is sent again finds its own grants, and no more than it wants are granted.
func TestSomeWhoseReplyIsLostAreTheSame(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	l, p := newProxied(t, s, lock.Config{TTL: time.Minute})
	claims := jobClaims(20)
	must[lock.Results](t)(l.Owners(bounded(t), "r")) // learns the clock, so that the claim is sent once
	lost := p.DropReplies(redistest.Named("evalsha", "eval"), 1, redistest.ThenCut)
	leases, rs, err := l.Jobs().TryAwaitSome(bounded(t), 5, claims...)
	wantErr(t, err, lock.ErrEnough)
	receive(t, "a lost reply", lost.Done())
	want := slices.Concat(slices.Repeat([]string{"granted"}, 5), slices.Repeat([]string{"enough"}, 15))
	if got := outcomes(rs); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var settlements []lock.Settlement
	for i, le := range leases[:5] {
		if r := rs[i]; le == nil || r.Job.Attempt != 1 || len(r.Job.Attempts) != 1 || r.Job.Fence != r.Grant.Fence {
			t.Fatalf("job %d: %+v", i, r)
		}
		settlements = append(settlements, lock.Settlement{Lease: le, End: lock.Done, Retention: time.Hour})
	}
	if _, err := l.Jobs().Settle(bounded(t), settlements...); err != nil {
		t.Error(err)
	}
	for i, info := range must[[]lock.JobInfo](t)(l.Jobs().Get(bounded(t), idsOf(claims)...)) {
		if state := []lock.JobState{lock.JobDone, lock.JobAbsent}[min(i/5, 1)]; info.State != state || info.TTL != 0 {
			t.Errorf("job %d: %+v", i, info)
		}
	}
}

func idsOf(claims []lock.JobClaim) []lock.JobID {
	ids := make([]lock.JobID, len(claims))
	for i, c := range claims {
		ids[i] = c.ID
	}
	return ids
}

// Grants clear away what has expired, and what is past its retention, as those of Claim do.
func TestSomeSweep(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ns, ctx := s.Namespace(t), bounded(t)
	l := newLocker(t, s, lock.Config{Namespace: ns, TTL: time.Minute})
	rdb := s.Client(t)
	claims := jobClaims(60)
	past, fresh := claims[:20], claims[20:]
	const brief = 300 * time.Millisecond
	d := desk{t, l}
	for _, c := range past {
		c.TTL, c.Retention = brief, lock.MinTTL
		d.settle(d.granted(c), lock.Settlement{End: lock.Done, Retention: c.Retention})
	}
	must[lock.Results](t)(l.TryLock(ctx, lock.Claim{Resource: "lapses", Owner: "me", TTL: lock.MinTTL}))
	pass(ctx, 2*brief+lock.MinTTL)
	for some := range slices.Chunk(fresh, 10) {
		if _, _, err := l.Jobs().TryAwaitSome(ctx, 10, some...); err != nil {
			t.Error(err)
		}
	}
	for i, key := range keysOf(ns, 0) {
		var n int64
		switch i {
		case 1, 4: // locks, jobs
			n = must[int64](t)(rdb.HLen(ctx, key).Result())
		case 2, 5: // expiry, retention
			n = must[int64](t)(rdb.ZCard(ctx, key).Result())
		default:
			continue
		}
		if n != int64(len(fresh)) {
			t.Errorf("%s has %d", key, n)
		}
	}
}
