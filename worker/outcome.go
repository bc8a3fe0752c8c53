package worker

import (
	"fmt"
	"strings"
)

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

// Result is what Run returned, or what became of one job of RunAll.
type Result struct {
	Job      Job
	Outcome  Outcome
	Attempts int   // attempts of the job's run as last seen, whichever worker made them
	Err      error // nil if and only if the job is done
}

// Summary counts what became of the jobs of a RunAll: each that it took from its sequence counts once.
type Summary struct {
	Completed          int
	CompletedElsewhere int
	HeldElsewhere      int
	Exhausted          int
	Interrupted        int
	Unknown            int // neither: a bad Job, or a lock in Redis that is not ours; the Result says why
	Attempts           int // attempts that this RunAll worked on
}

// Jobs returns how many jobs there were.
func (s Summary) Jobs() int {
	return s.Done() + s.HeldElsewhere + s.Exhausted + s.Interrupted + s.Unknown
}

// Done returns how many jobs are done.
func (s Summary) Done() int { return s.Completed + s.CompletedElsewhere }

// count counts a job.
func (s *Summary) count(o Outcome) {
	switch o {
	case Completed:
		s.Completed++
	case CompletedElsewhere:
		s.CompletedElsewhere++
	case HeldElsewhere:
		s.HeldElsewhere++
	case Exhausted:
		s.Exhausted++
	case Interrupted:
		s.Interrupted++
	default:
		s.Unknown++
	}
}

// String returns the counts that are not 0, such as "3 completed, 1 exhausted".
func (s Summary) String() string {
	var parts []string
	for _, part := range []struct {
		n int
		o Outcome
	}{{s.Completed, Completed}, {s.CompletedElsewhere, CompletedElsewhere}, {s.HeldElsewhere, HeldElsewhere},
		{s.Exhausted, Exhausted}, {s.Interrupted, Interrupted}, {s.Unknown, 0}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", part.n, part.o))
		}
	}
	return strings.Join(parts, ", ")
}
