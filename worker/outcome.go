package worker

import "fmt"

// Outcome is how a Run ended. The zero value says that it is not known, or that Run could not work at
// all; the error says why.
type Outcome uint8

// Outcomes of a Run.
const (
	Completed          Outcome = iota + 1 // our work returned nil, and that was recorded
	CompletedElsewhere                    // done by another worker, or before
	HeldElsewhere                         // another worker has it, and Config.MaxWait is over
	Exhausted                             // no attempt is left, or a failure was permanent
	Interrupted                           // the context ended before the job was done
)

var outcomes = [...]string{"unknown", "completed", "completed-elsewhere", "held-elsewhere", "exhausted", "interrupted"}

// String returns the outcome's name in lower case, words joined by a hyphen.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Result is what Run returned.
type Result struct {
	Job      Job
	Outcome  Outcome
	Attempts int   // attempts of the job's run as last seen, whichever worker made them
	Err      error // nil if and only if the job is done
}
