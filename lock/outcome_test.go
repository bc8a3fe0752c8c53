package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

var thens = map[string]redistest.Then{"connection cut": redistest.ThenCut, "connection hangs": redistest.ThenHang}

// settledStates is the state of a run after its only attempt, of two, ended so.
var settledStates = map[lock.End]lock.JobState{
	lock.Done: lock.JobDone, lock.Failed: lock.JobFailed, lock.Exhausted: lock.JobExhausted, lock.Returned: lock.JobAbsent,
}

// TestG9LostReplyIsConfirmedByRetry: executed, reply lost; the settlement that
// is sent again finds itself in the record.
func TestG9LostReplyIsConfirmedByRetry(t *testing.T) {
	t.Parallel()
	for name, then := range thens {
		for end, state := range settledStates {
			t.Run(name+"/"+end.String(), func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t, redistest.Any)
				l, p := newProxied(t, s, lock.Config{})
				ctx := bounded(t)
				id := lock.JobID{Key: "job", Run: "run"}
				endedJob(ctx, t, l, lock.JobID{Key: "warm up"}, lock.Done) // the script is loaded
				g := claimedJob(ctx, t, l, id, time.Minute).Grant
				loss := p.DropReplies(redistest.Named("evalsha"), 1, then)
				_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: end})
				wantErr(t, err, nil)
				receive(t, "the loss", loss.Done())
				info := must[[]lock.JobInfo](t)(l.Jobs().Get(ctx, id))[0]
				if info.State != state || len(info.Attempts) != 1 || info.Attempts[0].End != end.String() {
					t.Errorf("the run is %+v, want %v", info, state)
				}
			})
		}
	}
}

// TestG9UnconfirmedOutcomeIsUnknown: the reply is lost, and Redis stays out of
// reach until the caller's context ends. Executed or not, the caller is told that
// nobody knows; the record does, and the lease is kept so that the attempt can
// be settled again.
func TestG9UnconfirmedOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	executed := map[bool]lock.JobState{true: lock.JobDone, false: lock.JobRunning}
	for did, state := range executed {
		for name, then := range thens {
			t.Run(map[bool]string{true: "executed/", false: "not executed/"}[did]+name, func(t *testing.T) {
				t.Parallel()
				s := redistest.Start(t, redistest.Any)
				ns := s.Namespace(t)
				l, p := newProxied(t, s, lock.Config{Namespace: ns})
				reader := newLocker(t, s, lock.Config{Namespace: ns})
				ctx := bounded(t)
				id := lock.JobID{Key: "job", Run: "run"}
				endedJob(ctx, t, l, lock.JobID{Key: "warm up"}, lock.Done)
				lease, _, err := attempt(ctx, l, id, time.Minute, 3)
				wantErr(t, err, nil)
				drop := p.DropReplies
				if !did {
					drop = p.DropRequests
				}
				loss := drop(redistest.Named("evalsha"), 1, then)
				p.Refuse(true)
				err = lease.Settle(within(t, 400*time.Millisecond), lock.Settlement{End: lock.Done})
				wantErr(t, err, lock.ErrOutcomeUnknown)
				wantErr(t, err, context.DeadlineExceeded)
				receive(t, "the loss", loss.Done())
				if info := must[[]lock.JobInfo](t)(reader.Jobs().Get(ctx, id))[0]; info.State != state {
					t.Errorf("the run is %v, want %v", info.State, state)
				}
				wantErr(t, lease.Context().Err(), nil)
				p.Heal()
				wantErr(t, lease.Settle(ctx, lock.Settlement{End: lock.Done}), nil)
				if info := must[[]lock.JobInfo](t)(reader.Jobs().Get(ctx, id))[0]; info.State != lock.JobDone || info.Attempt != 1 {
					t.Errorf("the run is %+v, want done", info)
				}
				wantErr(t, context.Cause(lease.Context()), lock.ErrReleased)
			})
		}
	}
}

// TestG9ForgottenOutcomeIsUnknown: the settlement was executed, its reply lost,
// and before it was sent again somebody reset the run: neither "done" nor "lost"
// would be more than a guess.
func TestG9ForgottenOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, t *testing.T, l *lock.Locker, id lock.JobID){
		"reset": func(context.Context, *testing.T, *lock.Locker, lock.JobID) {},
		"reset and claimed": func(ctx context.Context, t *testing.T, l *lock.Locker, id lock.JobID) {
			claimedJob(ctx, t, l, id, time.Minute)
		},
	}
	for name, then := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			ns := s.Namespace(t)
			l, p := newProxied(t, s, lock.Config{Namespace: ns})
			other := newLocker(t, s, lock.Config{Namespace: ns})
			ctx := bounded(t)
			id := lock.JobID{Key: "job", Run: "run"}
			endedJob(ctx, t, l, lock.JobID{Key: "warm up"}, lock.Done)
			g := claimedJob(ctx, t, l, id, time.Minute).Grant
			loss := p.DropReplies(redistest.Named("evalsha"), 1, redistest.ThenHang)
			result := make(chan error, 1)
			go func() {
				_, err := l.Jobs().Settle(ctx, lock.Settlement{Grant: g, ID: id, End: lock.Done})
				result <- err
			}()
			receive(t, "the loss", loss.Done())
			wantErr(t, other.Jobs().Reset(ctx, id), nil)
			then(ctx, t, other, id)
			err := receive(t, "the settlement", result)
			if wantErr(t, err, lock.ErrOutcomeUnknown); errors.Is(err, lock.ErrLeaseLost) {
				t.Errorf("the error is a guess: %v", err)
			}
		})
	}
}

// TestG9LostReplyOfPlainCalls: a lock, an extension and a release whose replies
// are lost are found by their retry.
func TestG9LostReplyOfPlainCalls(t *testing.T) {
	t.Parallel()
	for name, then := range thens {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Any)
			l, p := newProxied(t, s, lock.Config{})
			ctx := bounded(t)
			warm := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "warm up")...))
			must[lock.Results](t)(l.Extend(ctx, warm.Claims()...))
			must[lock.Results](t)(l.Unlock(ctx, warm.Claims()...))
			lost := func(call func(context.Context, ...lock.Claim) (lock.Results, error), claims ...lock.Claim) lock.Results {
				t.Helper()
				loss := p.DropReplies(redistest.Named("evalsha"), 1, then)
				rs := must[lock.Results](t)(call(ctx, claims...))
				receive(t, "the loss", loss.Done())
				return rs
			}
			fresh := lost(l.TryLock, lock.Claims("me", "a", "b")...)
			if now := must[lock.Results](t)(l.Owners(ctx, "a", "b")); now[0].Fence != fresh[0].Fence || now[1].Fence != fresh[1].Fence {
				t.Fatalf("granted %+v, but in Redis is %+v", fresh, now)
			}
			all := lost(l.TryLockAll, lock.Claims("me", "c", "d")...)
			forced := lost(l.ForceLock, lock.Claims("you", "a")...)
			if forced[0].Fence <= fresh[0].Fence {
				t.Errorf("fence %d after %d", forced[0].Fence, fresh[0].Fence)
			}
			held := append(append(fresh[1:], all...), forced...)
			lost(l.Extend, held.Claims()...)
			lost(l.Unlock, held.Claims()...)
			for _, r := range must[lock.Results](t)(l.Owners(ctx, "a", "b", "c", "d")) {
				if r.Owner != "" {
					t.Errorf("%+v is held", r)
				}
			}
		})
	}
}
