package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockingworker/lockingworker/lock"
)

func TestDefaultRetryDelay(t *testing.T) {
	for n, base := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond, 8: 12800 * time.Millisecond,
		9: 25 * time.Second, 10: 25 * time.Second, 1_000_000_000: 25 * time.Second,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := defaultRetryDelay(Attempt{Number: n}, nil)
			if got < base*8/10 || got > base*12/10 || got > 30*time.Second {
				t.Errorf("delay after attempt %d: %v, want %v ± 20 %%", n, got, base)
			}
			seen[got] = true
		}
		if len(seen) < 2 {
			t.Errorf("delay after attempt %d is not jittered", n)
		}
	}
}

func TestBackoff(t *testing.T) {
	linear := Backoff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) })
	stopping := Backoff(func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 2) })
	doubling := Backoff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(backoff.WithRandomizationFactor(0), backoff.WithInitialInterval(time.Second),
			backoff.WithMultiplier(2))
	})
	only := backoff.NewExponentialBackOff(backoff.WithRandomizationFactor(0), backoff.WithInitialInterval(time.Second))
	shared := Backoff(func() backoff.BackOff { return only })
	tests := []struct {
		name   string
		delay  func(Attempt, error) time.Duration
		number int
		want   time.Duration
	}{
		{"constant", linear, 7, time.Second},
		{"first", doubling, 1, time.Second},
		{"fourth", doubling, 4, 8 * time.Second},
		{"first again: no state is kept", doubling, 1, time.Second},
		{"a policy that is used again begins again", shared, 1, time.Second},
		{"and again", shared, 1, time.Second},
		{"before it stops", stopping, 2, 0},
		{"stops", stopping, 3, backoff.Stop},
		{"has stopped", stopping, 9, backoff.Stop},
		{"HandOver", HandOver, 9, 0},
	}
	for _, tt := range tests {
		if got := tt.delay(Attempt{Number: tt.number}, errWork); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if d := Backoff(nil)(Attempt{Number: 1}, nil); d < 80*time.Millisecond || d > 120*time.Millisecond {
		t.Errorf("Backoff(nil): %v", d)
	}
}

func TestFailureSettlesAs(t *testing.T) {
	delay := func(d time.Duration) func(Attempt, error) time.Duration {
		return func(Attempt, error) time.Duration { return d }
	}
	wrapped := fmt.Errorf("while migrating: %w", backoff.Permanent(errWork))
	tests := []struct {
		name   string
		delay  func(Attempt, error) time.Duration
		err    error
		number int
		want   lock.Settlement
	}{
		{"with its delay", delay(time.Hour), errWork, 1, lock.Settlement{End: lock.Failed, Delay: time.Hour, Cause: "boom"}},
		{"negative is none", delay(-time.Hour), errWork, 1, lock.Settlement{End: lock.Failed, Cause: "boom"}},
		{"for ever is an end", delay(lock.NoExpiry), errWork, 1, lock.Settlement{End: lock.Failed, Delay: lock.NoExpiry - 1, Cause: "boom"}},
		{"the last has none", delay(time.Hour), errWork, 5, lock.Settlement{End: lock.Failed, Cause: "boom"}},
		{"backoff.Stop", delay(backoff.Stop), errWork, 1, lock.Settlement{End: lock.Exhausted, Cause: "boom"}},
		{"Permanent", delay(time.Hour), Permanent(errWork), 1, lock.Settlement{End: lock.Exhausted, Cause: "boom"}},
		{"backoff's, wrapped", delay(time.Hour), wrapped, 1, lock.Settlement{End: lock.Exhausted, Cause: "while migrating: boom"}},
		{"an error that panics", HandOver, (*brokenError)(nil), 1, lock.Settlement{End: lock.Failed, Cause: "<nil>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := attempt(tt.number)
				g, _ := acquire(t, Config{RetryDelay: tt.delay}, l)
				if err := g.Fail(t.Context(), tt.err); err != nil {
					t.Fatal(err)
				}
				tt.want.Retention = time.Minute
				if l.settled[0] != tt.want {
					t.Errorf("settled %+v, want %+v", l.settled[0], tt.want)
				}
			})
		})
	}
}

type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

func TestRetryDelayThatPanics(t *testing.T) {
	l := attempt(1)
	w, _, c := newFake(t, Config{RetryDelay: func(Attempt, error) time.Duration { panic("ouch") }},
		grants(l), grants(attempt(2)))
	_, err := w.Run(t.Context(), testJob, func(_ context.Context, a Attempt) error {
		return []error{errWork, nil}[a.Number-1]
	})
	if err != nil {
		t.Error(err)
	}
	if d := l.settled[0].Delay; d < 80*time.Millisecond || d > 120*time.Millisecond {
		t.Errorf("delay %v, want the default", d)
	}
	wantCalls(t, c, "acquired #1", "error: worker: Config.RetryDelay: worker: panic: ouch", "failed #1: boom",
		"acquired #2", "done #2", "result completed 2")
}

func TestPermanentOfNil(t *testing.T) {
	if err := Permanent(nil); err != nil {
		t.Errorf("%v", err)
	}
	if err := Permanent(errWork); !errors.Is(err, errWork) || err.Error() != "boom" {
		t.Errorf("%v", err)
	}
}
