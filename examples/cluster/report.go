package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/worker"
)

// report is one line from a worker to its parent, as JSON.
type report struct {
	Time    time.Time `json:"time"`
	Worker  int       `json:"worker"`
	Event   event     `json:"event"`
	Process int       `json:"process,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Last    bool      `json:"last,omitempty"`
	Fence   int64     `json:"fence,omitempty,string"` // larger than JSON's numbers
	Text    string    `json:"text,omitempty"`
}

type event string

const (
	eventAcquired    event = "acquired"
	eventLocked      event = "locked"
	eventStatus      event = "status"
	eventFailed      event = "failed"
	eventCompleted   event = "completed"
	eventLost        event = "lost"
	eventMaxAttempts event = "max-attempts"
	eventInterrupted event = "interrupted"
	eventError       event = "error"
)

// String returns what is printed.
func (r report) String() string {
	switch r.Event {
	case eventAcquired:
		return fmt.Sprintf("Worker %d acquired lock for attempt #%d (process %d, fence %d)", r.Worker, r.Attempt, r.Process, r.Fence)
	case eventLocked:
		return fmt.Sprintf("Worker %d did not acquire lock", r.Worker)
	case eventStatus:
		return fmt.Sprintf("Worker %d Status message from lock: %s", r.Worker, r.Text)
	case eventFailed:
		return fmt.Sprintf("Worker %d failed to do work", r.Worker)
	case eventCompleted:
		return fmt.Sprintf("Worker %d completed work successfully, last attempt? %t", r.Worker, r.Last)
	case eventLost:
		return fmt.Sprintf("Worker %d lost its lock during attempt #%d", r.Worker, r.Attempt)
	case eventMaxAttempts:
		return fmt.Sprintf("Worker %d gives up: %s", r.Worker, r.Text)
	case eventInterrupted:
		return fmt.Sprintf("Worker %d was interrupted", r.Worker)
	default:
		return fmt.Sprintf("Worker %d reports an %s: %s", r.Worker, r.Event, r.Text)
	}
}

// reporter sends a worker's reports. All workers write to one pipe, so that their reports come in the order in which they
// were sent; a report is short enough to be written in one piece.
type reporter struct {
	number int
	mu     sync.Mutex
	out    io.Writer
}

func newReporter(number int) *reporter { return &reporter{number: number, out: os.Stdout} }

func (p *reporter) send(r report) {
	r.Time, r.Worker, r.Process = time.Now(), p.number, os.Getpid()
	r.Text = fmt.Sprintf("%.200s", r.Text)
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.out.Write(append(line, '\n')) // without a parent there is nobody to tell
}

func (p *reporter) attempt(e event, a worker.Attempt) {
	p.send(report{Event: e, Attempt: a.Number, Last: a.Last(), Fence: a.Fence})
}

// handlers report what the work itself does not see.
func (p *reporter) handlers() worker.Handlers {
	return worker.Handlers{
		OnLocked:      func(worker.Job, string) { p.send(report{Event: eventLocked}) },
		OnStatus:      func(e status.Event) { p.send(report{Event: eventStatus, Text: e.String()}) },
		OnDone:        func(a worker.Attempt) { p.attempt(eventCompleted, a) },
		OnLost:        func(a worker.Attempt) { p.attempt(eventLost, a) },
		OnMaxAttempts: func(_ worker.Job, err error) { p.send(report{Event: eventMaxAttempts, Text: err.Error()}) },
		OnError:       func(_ worker.Job, err error) { p.send(report{Event: eventError, Text: err.Error()}) },
		OnResult: func(r worker.Result) {
			if r.Outcome == worker.Interrupted {
				p.send(report{Event: eventInterrupted})
			}
		},
	}
}
