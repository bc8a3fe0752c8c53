package status

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Event is one step of one worker. The comment of each [Kind] says which numbers it is about; what is not known is
// the zero value.
type Event struct {
	Time  time.Time // when the step was taken, by the clock of this process
	Level Level     // Kind.Level()
	Kind  Kind

	Key    string // the job's key; any bytes
	Run    string // the job's run, by name; "" where it has none
	Worker string // the owner's name, under which this worker claims

	Attempt  int   // number of an attempt, from 1; 0 where none was granted yet
	Expected int   // KindOvertaken: the attempt that the worker last knew of
	Max      int   // how many attempts the job may have
	Dropped  int   // KindDropped: how many events were not delivered
	Err      error // what led to the step, for instance why the attempt failed; may be nil
}

// String returns the message of the event's kind with its numbers filled in. Key, Run, Worker, Max and Err are no part of
// it, so it never shows what a job is called.
func (e Event) String() string {
	row, ok := table[e.Kind]
	if !ok {
		return fmt.Sprintf("Unknown status %q", string(e.Kind))
	}
	return strings.NewReplacer(
		"{attempt}", strconv.Itoa(e.Attempt),
		"{expected}", strconv.Itoa(e.Expected),
		"{dropped}", strconv.Itoa(e.Dropped),
	).Replace(row.message)
}

// MarshalLogObject makes Event a [zapcore.ObjectMarshaler], for [zap.Inline] and [zap.Object]. The fields are event (the
// kind), key, run, owner (the Worker), attempt, expected, max, dropped and error; all but event are left out where they are zero. Time,
// level and message are left to the log entry. It always returns nil.
func (e Event) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("event", string(e.Kind))
	addString := func(name, value string) {
		if value != "" {
			enc.AddString(name, value)
		}
	}
	addInt := func(name string, value int) {
		if value != 0 {
			enc.AddInt(name, value)
		}
	}
	addString("key", e.Key)
	addString("run", e.Run)
	addString("owner", e.Worker)
	addInt("attempt", e.Attempt)
	addInt("expected", e.Expected)
	addInt("max", e.Max)
	addInt("dropped", e.Dropped)
	zap.Error(e.Err).AddTo(enc) // nothing for nil
	return nil
}
