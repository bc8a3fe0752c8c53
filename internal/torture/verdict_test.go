package torture

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// slack is what a timer may be late on a machine that has other things to do,
// beside the times for which a process itself finds that it did not run.
const slack = 300 * time.Millisecond

// A verdict is what the checks say of a round.
type verdict struct {
	operations, grants, killed, takeovers, doubled, unknown, stale int

	bundles, lostBundles int // script calls of several callers, and those whose reply was lost

	violations []violation
	judged     map[string]int  // promise → how often it could have been found broken
	said       map[string]bool // of the words that the fault is to bring about
	stall      time.Duration   // the longest time for which the machine had no time for us
	drawings   []drawing
}

// A violation is something that was promised not to happen.
type violation struct {
	check string // which check and promise
	at    int64
	text  string
}

// A drawing is the history of a run that no order makes sense of.
type drawing struct {
	name  string
	model porcupine.Model
	info  porcupine.LinearizationInfo
}

func (v *verdict) violate(check string, at int64, format string, args ...any) {
	v.violations = append(v.violations, violation{check, at, fmt.Sprintf(format, args...)})
}

// checked notes that a promise could have been found broken, so many times. What
// a check had nothing to look at for is not checked.
func (v *verdict) checked(promise string, times int) {
	if times == 0 {
		return
	}
	if v.judged == nil {
		v.judged = map[string]int{}
	}
	v.judged[promise] += times
}

// says notes that a process was told that in an error.
func (v *verdict) says(word string) {
	if v.said == nil {
		v.said = map[string]bool{}
	}
	v.said[word] = true
}

// late is how late a process may do what it has to do at some time.
func (v *verdict) late() time.Duration { return slack + v.stall }

// add adds the verdict of another round.
func (v *verdict) add(w *verdict) {
	v.operations += w.operations
	v.grants += w.grants
	v.killed += w.killed
	v.takeovers += w.takeovers
	v.doubled += w.doubled
	v.unknown += w.unknown
	v.stale += w.stale
	v.violations = append(v.violations, w.violations...)
	v.bundles += w.bundles
	v.lostBundles += w.lostBundles
	v.stall = max(v.stall, w.stall)
	for word := range w.said {
		v.says(word)
	}
	for p, n := range w.judged {
		v.checked(p, n)
	}
}
