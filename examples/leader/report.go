package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// report is one line from a replica to its parent, as JSON.
type report struct {
	Replica int    `json:"replica"`
	Event   event  `json:"event"`
	Fence   int64  `json:"fence,omitempty,string"` // larger than JSON's numbers
	Text    string `json:"text,omitempty"`
}

type event string

const (
	eventWaits  event = "waits"
	eventLeads  event = "leads"
	eventWrites event = "writes"
	eventSteps  event = "steps down"
	eventLost   event = "lost"
)

func (r replica) tell(what report) {
	what.Replica = r.Number
	line, err := json.Marshal(what)
	if err != nil {
		panic(err) // strings and numbers
	}
	_, _ = os.Stdout.Write(append(line, '\n')) // without a parent there is nobody to tell
}

// String returns what is printed.
func (r report) String() string {
	switch r.Event {
	case eventLeads:
		return fmt.Sprintf("Replica %d leads, fence %d", r.Replica, r.Fence)
	case eventSteps:
		return fmt.Sprintf("Replica %d steps down", r.Replica)
	case eventLost:
		return fmt.Sprintf("Replica %d steps down: %s", r.Replica, r.Text)
	default:
		return fmt.Sprintf("Replica %d %s", r.Replica, r.Event)
	}
}
