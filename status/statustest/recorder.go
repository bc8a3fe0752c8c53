// Package statustest records status events, for tests. It promises nothing about what was not delivered to it: a step
// whose event the worker's level left out, or that was dropped, has not been recorded, although it was taken. Use
// [status.Verbose] and wait for the event that you need, rather than count those that came.
package statustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lockingworker/lockingworker/status"
)

// Recorder keeps every event that it is given, in order. The zero value is ready for use; it must not be copied after that. All
// methods may be called from any goroutine.
type Recorder struct {
	mu       sync.Mutex
	events   []status.Event
	next     map[status.Kind]int // from where in events the next Wait for the kind looks
	recorded chan struct{}       // closed by the next Record; nil while nobody waits
}

// New returns an empty Recorder.
func New() *Recorder {
	return &Recorder{}
}

// Record keeps the event and wakes every Wait. It never blocks; its method value is a handler: OnStatus: recorder.Record.
func (r *Recorder) Record(e status.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if r.recorded != nil {
		close(r.recorded)
		r.recorded = nil
	}
}

// Events returns a copy of all that was recorded, oldest first. What Wait returned is still among it.
func (r *Recorder) Events() []status.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Messages returns the message of each event, oldest first.
func (r *Recorder) Messages() []string {
	var messages []string
	for _, e := range r.Events() {
		messages = append(messages, e.String())
	}
	return messages
}

// Wait returns the oldest event of the kind that no call to Wait has returned before, and waits until there is one. Events
// recorded before the call count, so nothing is missed between two calls; each event is returned once, and waiting for one
// kind uses up nothing of another.
//
// It fails only where the context has ended and there is no such event. The error wraps the context's cause and lists all
// that was recorded.
func (r *Recorder) Wait(ctx context.Context, kind status.Kind) (status.Event, error) {
	for {
		ended := ctx.Err() != nil // asked first, so that an event recorded before the end is never missed
		e, ok, recorded := r.take(kind)
		if ok {
			return e, nil
		}
		if ended {
			return status.Event{}, fmt.Errorf("statustest: no new %q event: %w; recorded: %s", kind, context.Cause(ctx), r.list())
		}
		select {
		case <-recorded:
		case <-ctx.Done():
		}
	}
}

// take returns the next event of the kind; or, where there is none, a channel that is closed when something is recorded.
func (r *Recorder) take(kind status.Kind) (e status.Event, ok bool, recorded <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(map[status.Kind]int)
	}
	for i := r.next[kind]; i < len(r.events); i++ {
		if r.events[i].Kind == kind {
			r.next[kind] = i + 1
			return r.events[i], true, nil
		}
	}
	r.next[kind] = len(r.events)
	if r.recorded == nil {
		r.recorded = make(chan struct{})
	}
	return status.Event{}, false, r.recorded
}

func (r *Recorder) list() string {
	events := r.Events()
	if len(events) == 0 {
		return "nothing"
	}
	var lines strings.Builder
	for _, e := range events {
		fmt.Fprintf(&lines, "\n\t%s: %v", e.Kind, e)
	}
	return lines.String()
}
