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

	violations []violation
	promises   map[string]bool // those that were checked
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

func (v *verdict) checked(promises ...string) {
	if v.promises == nil {
		v.promises = map[string]bool{}
	}
	for _, p := range promises {
		v.promises[p] = true
	}
}

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
	for p := range w.promises {
		v.checked(p)
	}
}
