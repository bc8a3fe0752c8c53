package lock

import (
	"fmt"
	"time"
)

// EventKind is what happened.
type EventKind uint8

// Kinds of events. Expire and Job come from Redis, once each for every
// watching Locker; Lock, Unlock and Extend do so only with Config.Publish.
const (
	EventLock   EventKind = iota + 1 // a lock was granted
	EventUnlock                      // a lock was released
	EventExtend                      // a lease was renewed
	EventExpire                      // a lock's lease ran out
	EventLost                        // this Locker lost a lease that it kept
	EventJob                         // an attempt at a job ended; Job says how
	EventMissed                      // some events were lost before this one: list again
	EventError                       // something failed that no return value can carry
)

var eventKinds = [...]string{"", "lock", "unlock", "extend", "expire", "lost", "job", "missed", "error"}

// String returns the kind's name in lower case.
func (k EventKind) String() string {
	if k > 0 && int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something that happened to a resource. Fields that do not apply are
// zero.
type Event struct {
	Time     time.Time // Redis's clock for events from Redis, the process's own otherwise
	Kind     EventKind
	Resource string
	Owner    string
	Fence    int64         `json:",string"`
	Wait     time.Duration // own EventLock: how long the claim took, waiting included
	Held     time.Duration // own EventUnlock and EventLost of a kept lease: how long it was kept
	Job      *JobInfo      // EventJob
	Err      error         // EventError and EventLost
}
