package lock

import (
	"fmt"
	"time"
)

// JobID names one run of a job. Exclusion holds for the Key, whatever the Run;
// attempts and outcome belong to the Run.
type JobID struct {
	Key string // the resource that is locked: 1 to 512 bytes
	Run string // the period or occasion: 0 to 512 bytes
}

// JobState is what is remembered of a job's run.
type JobState uint8

// States of a job's run. Running whose lease has run out counts as Failed.
const (
	JobAbsent    JobState = iota // nothing remembered, or no attempt counted yet
	JobRunning                   // an attempt holds the lock
	JobFailed                    // the last attempt failed or its lease ran out; another may follow
	JobDone                      // done, for good
	JobExhausted                 // the maximum of attempts was reached, or the failure was permanent
)

var jobStates = [...]string{"absent", "running", "failed", "done", "exhausted"}

// String returns the state's name in lower case.
func (s JobState) String() string {
	if int(s) < len(jobStates) {
		return jobStates[s]
	}
	return fmt.Sprintf("JobState(%d)", uint8(s))
}

// JobInfo is what is known of a job's run.
type JobInfo struct {
	ID        JobID
	State     JobState
	Owner     string        // who was granted the last attempt; "" if nobody was
	Fence     int64         `json:",string"` // of the last attempt
	Attempt   int           // attempts counted so far; those given back do not count
	Max       int           // the maximum that the last attempt was granted or refused with
	TTL       time.Duration // time left to the holder of the lock on Key, whoever it is; 0 if it is free
	NotBefore time.Time     // earliest next attempt, by Redis's clock; zero if at once
	Waiters   int           // how many Lockers wait for this run
	Cause     string        // why the last attempt failed; at most MaxCause bytes
	Permanent bool          // exhausted whatever the maximum, until Reset
	Attempts  []AttemptInfo // the last 100 grants, oldest first
}

// AttemptInfo is one grant of a job's run.
type AttemptInfo struct {
	Number  int // the how-manieth attempt this was, from 1; the next grant has it again if this one was given back
	Owner   string
	Fence   int64     `json:",string"`
	Granted time.Time // by Redis's clock, to the millisecond
	Ended   time.Time // zero while it holds the lock; for End "lapsed" when that was noticed
	End     string    // "", "done", "failed", "exhausted", "returned" or "lapsed"
	Cause   string    // why it failed; at most MaxCause bytes
}

// JobClaim asks for an attempt at a job's run.
type JobClaim struct {
	ID          JobID
	Owner       string        // "" is Config.Owner
	TTL         time.Duration // lease time; 0 is Config.TTL; NoExpiry is an error
	Retention   time.Duration // how long to remember the run after its last grant, renewal or settlement, at least; NoExpiry for good
	MaxAttempts int           // at least 1

	// OnLook is told what Await does while it waits, on the goroutine that called
	// Await, which does not return before it does. Beyond 64 looks that wait for
	// it the newest are dropped. Claim and TryAwait ignore it.
	OnLook func(Look)
}

// Look is one step of a claim that waits.
type Look struct {
	// Again says that the waiter is about to claim once more, woken or
	// because its timer ended. Result is the last answer then, if there was one.
	Again bool
	// Result is what the claim was answered, when Again is false: refused,
	// with the holder, its time left and the job's attempts.
	Result JobResult
	// Err, when Again is false and it is not nil, says that the claim failed
	// for now (ErrUnavailable) and will be repeated.
	Err error
}

// JobResult is the answer to a JobClaim. Grant.Err is nil if the attempt was
// granted; otherwise ErrHeld, ErrTooEarly, ErrJobDone, ErrJobExhausted,
// ErrCorruptState or a node's failure. Grant's Owner, Fence and TTL are the
// lock's holder's.
type JobResult struct {
	Grant Result
	Job   JobInfo
}

// End is how an attempt ended.
type End uint8

// Ends of an attempt.
const (
	Done      End = iota + 1 // the run is done
	Failed                   // another attempt may follow after Delay; exhausted if this was the last
	Exhausted                // no other attempt, whatever the maximum (a permanent failure)
	Returned                 // given back: not counted
)

var ends = [...]string{"", "done", "failed", "exhausted", "returned"}

// String returns the end's name in lower case.
func (e End) String() string {
	if int(e) < len(ends) {
		return ends[e]
	}
	return fmt.Sprintf("End(%d)", uint8(e))
}

// Settlement ends an attempt and releases its lock, in one step.
type Settlement struct {
	Lease     *JobLease     // a kept attempt, which ends with it; then Grant and ID are filled in
	Grant     Result        // what Claim granted
	ID        JobID         // what was claimed
	End       End           // how it ended
	Delay     time.Duration // with Failed: how long no other attempt may start
	Retention time.Duration // as in JobClaim
	Cause     string        // why it failed; cut at MaxCause bytes

	held time.Duration // how long it was kept, for the observers
}

// JobQuery selects jobs for Jobs.List; zero fields select everything.
type JobQuery struct {
	Prefix string // of the key
	Owner  string // of the last attempt
	State  JobState
}
