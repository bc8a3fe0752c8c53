package status

// Kind is the step that an event stands for. The texts of the constants are stable: programs may compare, store and count
// them. The messages are for people.
type Kind string

const (
	// KindChecking: a waiter looks again, woken or because its timer ended. Attempt is the one that it last knew of.
	KindChecking Kind = "checking"
	// KindNotCompleted: an attempt failed or its lease ran out. Attempt is that attempt; a grant would be the next.
	KindNotCompleted Kind = "not-completed"
	// KindReacquiring: a claim follows.
	KindReacquiring Kind = "reacquiring"
	// KindAttemptCount: Attempt is the counter as found.
	KindAttemptCount Kind = "attempt-count"
	// KindAttempt: granted; Attempt is the counter as it is now.
	KindAttempt Kind = "attempt"
	// KindOvertaken: another worker was granted meanwhile. Expected is the attempt that the waiter last knew of, Attempt
	// the one that it found.
	KindOvertaken Kind = "overtaken"
	// KindRaced: refused in the race for the same attempt.
	KindRaced Kind = "raced"
	// KindCompletedElsewhere: the work was done by another worker.
	KindCompletedElsewhere Kind = "completed-elsewhere"
	// KindGone: the job's record is gone; whoever completed the work is no longer known.
	KindGone Kind = "gone"
	// KindGivingUp: the job is exhausted, and nobody tries again. Max is how many attempts it could have.
	KindGivingUp Kind = "giving-up"
	// KindDropped: the handler was too slow for this worker's events, so the oldest Dropped of them were not delivered.
	KindDropped Kind = "dropped"
)

// table is what there is to know about a kind. Every row but the last has its message from redis-locking-worker; only the
// primary process's loses ", deleting lock", since here the outcome is kept. In braces: the event's field that stands there.
var table = map[Kind]struct {
	level   Level
	message string
}{
	KindChecking:           {Verbose, "Checking status of work from attempt #{attempt}"},
	KindNotCompleted:       {Normal, "Work was not completed, trying to reacquire lock for attempt #{attempt}"},
	KindReacquiring:        {Verbose, "Trying to reacquire lock"},
	KindAttemptCount:       {Verbose, "Current attempt count: {attempt}"},
	KindAttempt:            {Verbose, "This is attempt #{attempt}"},
	KindOvertaken:          {Verbose, "Attempt count has been incremented (expected {expected}, but it's {attempt}), someone else got the lock"},
	KindRaced:              {Normal, "Lock value has changed while we were checking it, someone else got the lock"},
	KindCompletedElsewhere: {Normal, "Work completed successfully by primary process"},
	KindGone:               {Normal, "Lock key is gone, someone else completed the work and deleted the lock"},
	KindGivingUp:           {Verbose, "Exceeded maximum attempts, giving up!"},
	KindDropped:            {Normal, "{dropped} status events were dropped because the handler was too slow"},
}

// Level returns the level at which events of this kind are emitted; Normal for a kind that is none of the constants.
func (k Kind) Level() Level {
	return table[k].level
}
