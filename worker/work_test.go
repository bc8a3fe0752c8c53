package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func TestLeaseLostDuringWork(t *testing.T) {
	for name, returned := range map[string]error{"nil": nil, "the cause": lock.ErrLeaseLost, "an error": errWork} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(1)
				time.AfterFunc(time.Minute, func() { l.end(lock.ErrLeaseLost) })
				w, _, c := newFake(t, Config{}, grants(l), grants(attempt(3)))
				outcome, err := w.Run(t.Context(), testJob, func(ctx context.Context, a Attempt) error {
					if a.Number == 3 {
						return nil
					}
					<-ctx.Done()
					if cause := context.Cause(ctx); cause != lock.ErrLeaseLost {
						t.Errorf("cause %v", cause)
					}
					synctest.Wait()
					wantCalls(t, c, "acquired #1", "lost #1") // at once, not when the work returns
					return returned
				})
				if outcome != Completed || err != nil {
					t.Errorf("Run = %v, %v", outcome, err)
				}
				wantEnds(t, l) // nothing is written
				want := []string{"acquired #1", "lost #1", "acquired #3", "done #3", "result completed 3"}
				if returned == errWork {
					want = append(want[:2:2], append([]string{"error: worker: attempt #1, after its lease was lost: boom"}, want[2:]...)...)
				}
				wantCalls(t, c, want...)
			})
		})
	}
}

func TestLockerClosedDuringWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := attempt(1)
		time.AfterFunc(time.Minute, func() { l.end(lock.ErrClosed) })
		w, _, _ := newFake(t, Config{}, grants(l))
		outcome, err := w.Run(t.Context(), testJob, untilEnded)
		if outcome != 0 {
			t.Errorf("outcome %v", outcome)
		}
		wantIs(t, err, lock.ErrClosed)
		wantEnds(t, l)
	})
}

func TestWorkSeesTheCallersContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
	defer cancel()
	w, _, _ := newFake(t, Config{}, grants(attempt(1)))
	_, err := w.Run(ctx, testJob, func(inner context.Context, _ Attempt) error {
		want, _ := ctx.Deadline()
		if got, ok := inner.Deadline(); !ok || got != want || inner.Value(key{}) != "value" {
			t.Errorf("deadline %v, value %v", got, inner.Value(key{}))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWorkDoesNotBeginWithALeaseThatIsOver(t *testing.T) {
	late := attempt(1)
	late.end(lock.ErrLeaseLost)
	w, _, c := newFake(t, Config{}, grants(late), grants(attempt(2)))
	outcome, err := w.Run(t.Context(), testJob, func(_ context.Context, a Attempt) error {
		if a.Number == 1 {
			t.Error("attempt 1 has begun")
		}
		return nil
	})
	if outcome != Completed || err != nil {
		t.Errorf("Run = %v, %v", outcome, err)
	}
	wantEnds(t, late)
	wantCalls(t, c, "acquired #1", "lost #1", "acquired #2", "done #2", "result completed 2")
}
