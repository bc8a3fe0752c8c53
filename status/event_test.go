package status_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/status"
)

var _ zapcore.ObjectMarshaler = status.Event{}

// What redis-locking-worker says, and one row of our own.
func TestKindLevelsAndMessages(t *testing.T) {
	for _, tt := range []struct {
		event status.Event
		text  string
		level status.Level
		want  string
	}{
		{
			status.Event{Kind: status.KindChecking, Attempt: 1}, "checking", status.Verbose,
			"Checking status of work from attempt #1",
		},
		{
			status.Event{Kind: status.KindNotCompleted, Attempt: 2}, "not-completed", status.Normal,
			"Work was not completed, trying to reacquire lock for attempt #2",
		},
		{
			status.Event{Kind: status.KindReacquiring, Attempt: 2}, "reacquiring", status.Verbose,
			"Trying to reacquire lock",
		},
		{
			status.Event{Kind: status.KindAttemptCount, Attempt: 0}, "attempt-count", status.Verbose,
			"Current attempt count: 0",
		},
		{
			status.Event{Kind: status.KindAttempt, Attempt: 3}, "attempt", status.Verbose,
			"This is attempt #3",
		},
		{
			status.Event{Kind: status.KindOvertaken, Expected: 1, Attempt: 2}, "overtaken", status.Verbose,
			"Attempt count has been incremented (expected 1, but it's 2), someone else got the lock",
		},
		{
			status.Event{Kind: status.KindRaced}, "raced", status.Normal,
			"Lock value has changed while we were checking it, someone else got the lock",
		},
		{
			status.Event{Kind: status.KindCompletedElsewhere}, "completed-elsewhere", status.Normal,
			"Work completed successfully by primary process",
		},
		{
			status.Event{Kind: status.KindGone}, "gone", status.Normal,
			"Lock key is gone, someone else completed the work and deleted the lock",
		},
		{
			status.Event{Kind: status.KindGivingUp, Attempt: 5, Max: 5}, "giving-up", status.Verbose,
			"Exceeded maximum attempts, giving up!",
		},
		{
			status.Event{Kind: status.KindDropped, Dropped: 1024}, "dropped", status.Normal,
			"1024 status events were dropped because the handler was too slow",
		},
		{
			status.Event{Kind: "sang\n", Attempt: 1}, "sang\n", status.Normal,
			`Unknown status "sang\n"`,
		},
	} {
		if got := string(tt.event.Kind); got != tt.text {
			t.Errorf("kind %q, want %q", got, tt.text)
		}
		if got := tt.event.Kind.Level(); got != tt.level {
			t.Errorf("level of %q is %v, want %v", tt.text, got, tt.level)
		}
		if got := tt.event.String(); got != tt.want {
			t.Errorf("message of %q is %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestEventShowsNoNames(t *testing.T) {
	bare := status.Event{Kind: status.KindAttempt, Attempt: 1}
	full := bare
	full.Key, full.Run, full.Worker, full.Err = "{attempt}", "run", "worker", errors.New("secret")
	if bare.String() != full.String() {
		t.Errorf("message is %q", full)
	}
}

func TestEventAsLogFields(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	logger := zap.New(core)
	for _, tt := range []struct {
		event status.Event
		want  map[string]any
	}{
		{
			status.Event{Kind: status.KindRaced},
			map[string]any{"event": "raced"},
		},
		{
			status.Event{
				Time: time.Now(), Level: status.Verbose, Kind: status.KindOvertaken,
				Key: "nightly", Run: "2026-11-22", Worker: "host-1",
				Attempt: 3, Expected: 2, Max: 5, Dropped: 7, Err: errors.New("disk full"),
			},
			map[string]any{
				"event": "overtaken", "key": "nightly", "run": "2026-11-22", "owner": "host-1",
				"attempt": 3, "expected": 2, "max": 5, "dropped": 7, "error": "disk full",
			},
		},
	} {
		logger.Info(tt.event.String(), zap.Inline(tt.event))
		entry := logs.TakeAll()[0]
		if got := entry.ContextMap(); !maps.Equal(got, tt.want) {
			t.Errorf("fields are %v, want %v", got, tt.want)
		}
	}
}
