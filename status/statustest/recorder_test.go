package statustest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/status/statustest"
)

func attempt(n int) status.Event {
	return status.Event{Kind: status.KindAttempt, Attempt: n}
}

func TestEventsReturnsCopy(t *testing.T) {
	r := statustest.New()
	if events := r.Events(); len(events) != 0 {
		t.Errorf("a new recorder has %v", events)
	}
	r.Record(attempt(1))
	r.Record(status.Event{Kind: status.KindRaced})

	r.Events()[0] = status.Event{}
	if got, want := r.Events(), []status.Event{attempt(1), {Kind: status.KindRaced}}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestZeroRecorderIsReady(t *testing.T) {
	var r statustest.Recorder
	if len(r.Events()) != 0 || len(r.Messages()) != 0 {
		t.Error("the zero recorder is not empty")
	}
	r.Record(attempt(1))
	if e, err := r.Wait(t.Context(), status.KindAttempt); e != attempt(1) || err != nil {
		t.Errorf("Wait = %v, %v", e, err)
	}
}

func TestWaitIsWokenByItsKindOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := statustest.New()
		var got *status.Event
		go func() {
			e, err := r.Wait(t.Context(), status.KindAttempt)
			if err != nil {
				t.Error(err)
			}
			got = &e
		}()

		synctest.Wait()
		r.Record(status.Event{Kind: status.KindChecking, Attempt: 1})
		synctest.Wait()
		if got != nil {
			t.Fatalf("Wait returned %v", *got)
		}
		r.Record(attempt(2))
		synctest.Wait()
		if got == nil || *got != attempt(2) {
			t.Fatalf("Wait returned %v", got)
		}
	})
}

// What any order of Record and Wait returns: for each kind, its events in order, each once.
func TestWaitReturnsEachEventOnce(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	kinds := rapid.SampledFrom([]status.Kind{status.KindChecking, status.KindAttempt, status.KindRaced})

	rapid.Check(t, func(t *rapid.T) {
		r := statustest.New()
		waiting := make(map[status.Kind][]status.Event)
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"record": func(t *rapid.T) {
				n++
				e := status.Event{Kind: kinds.Draw(t, "kind"), Attempt: n}
				r.Record(e)
				waiting[e.Kind] = append(waiting[e.Kind], e)
			},
			"wait": func(t *rapid.T) {
				kind := kinds.Draw(t, "kind")
				e, err := r.Wait(ended, kind)
				if len(waiting[kind]) == 0 {
					if !errors.Is(err, context.Canceled) {
						t.Fatalf("Wait = %v, %v; nothing is left", e, err)
					}
					return
				}
				if want := waiting[kind][0]; e != want || err != nil {
					t.Fatalf("Wait = %v, %v; want %v", e, err, want)
				}
				waiting[kind] = waiting[kind][1:]
			},
			"": func(t *rapid.T) {
				if got := len(r.Events()); got != n {
					t.Fatalf("%d events, want %d", got, n)
				}
			},
		})
	})
}

func TestConcurrentWaitsShareNoEvent(t *testing.T) {
	const events = 200
	r := statustest.New()
	returned := make([]int, events)
	var running sync.WaitGroup
	for i := range events {
		running.Go(func() {
			e, err := r.Wait(t.Context(), status.KindAttempt)
			if err != nil {
				t.Error(err)
			}
			returned[i] = e.Attempt
		})
		running.Go(func() { r.Record(attempt(i)) })
	}
	running.Wait()

	slices.Sort(returned)
	for i, got := range returned {
		if got != i {
			t.Fatalf("event %d was returned %d places off", got, i-got)
		}
	}
}

func TestWaitTellsWhatWasRecordedInstead(t *testing.T) {
	overslept := errors.New("overslept")
	for _, tt := range []struct {
		recorded []status.Event
		want     string
	}{
		{nil, `statustest: no new "gone" event: overslept; recorded: nothing`},
		{
			[]status.Event{attempt(1), {Kind: status.KindRaced}},
			`statustest: no new "gone" event: overslept; recorded: ` + strings.Join([]string{
				"",
				"attempt: This is attempt #1",
				"raced: Lock value has changed while we were checking it, someone else got the lock",
			}, "\n\t"),
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := statustest.New()
			for _, e := range tt.recorded {
				r.Record(e)
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, overslept)
			defer cancel()

			_, err := r.Wait(ctx, status.KindGone)
			if !errors.Is(err, overslept) || err.Error() != tt.want {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}
