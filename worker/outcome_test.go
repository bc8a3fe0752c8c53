package worker

import "testing"

func TestOutcomeString(t *testing.T) {
	for o, want := range map[Outcome]string{0: "unknown", Completed: "completed", CompletedElsewhere: "completed-elsewhere",
		HeldElsewhere: "held-elsewhere", Exhausted: "exhausted", Interrupted: "interrupted", 6: "Outcome(6)"} {
		if got := o.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
