package model_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/internal/model"
)

var limit = flag.Int("states", states, "how many states of each weather to visit; 0: all")

// TestNothingBreaksInAnyWeather: no two holders, no attempt too many, no run done
// twice, nobody passed over, nothing left behind, and nobody stuck.
func TestNothingBreaksInAnyWeather(t *testing.T) {
	total := 0
	for _, w := range model.Weathers() {
		t.Run(w.Name, func(t *testing.T) {
			r := w.Explore(*limit)
			total += r.States
			t.Logf("%d states, %d steps deep, all of them: %v", r.States, r.Depth, r.Complete)
			if r.Violation != nil {
				t.Fatal(r.Violation)
			}
		})
	}
	t.Logf("%d states", total)
}

const (
	stuck      = "somebody waits, and nothing is left"
	endless    = "somebody waits, and is never answered"
	passedOver = "an older waiter, who may be granted the lock, is passed over"
	leftBehind = "a place in the queue, or a grant, is left behind"
	ousted     = "a holder works whose lock is not its own any more"
)

// what breaks when a rule is switched off.
var breaks = map[model.Rule]string{
	model.Offers:           endless,
	model.OfferWakes:       stuck,
	model.OldestFirst:      passedOver,
	model.SkipsOver:        "the lock is offered to one whose run is over",
	model.SkipsEarly:       endless,
	model.NoPassing:        passedOver,
	model.QueuesRefused:    stuck,
	model.ToldLeaves:       leftBehind,
	model.Subscribed:       stuck,
	model.Remembers:        stuck,
	model.LeaveHandsOver:   stuck,
	model.LeaveWaits:       leftBehind,
	model.NotAfter:         leftBehind,
	model.LeaveGivesBack:   leftBehind,
	model.GivesBackAgain:   leftBehind,
	model.SparesReal:       ousted,
	model.RetiresLapsed:    endless,
	model.EarlyWoken:       stuck,
	model.DoneWakes:        stuck,
	model.CrowdChain:       stuck,
	model.LeaverChain:      stuck,
	model.Lifts:            stuck,
	model.DoneIsFinal:      "a run is granted after it was done",
	model.NonceUsedUp:      leftBehind,
	model.OwnNonce:         "a claim that was granted is sent again, and is refused",
	model.Timers:           stuck,
	model.CountsGrants:     "more grants of a run than the maximum",
	model.Bounded:          "more grants of a run than the maximum",
	model.ReturnsUncounted: "a run is called exhausted before its attempts are used up",
	model.SettlesByFence:   ousted,
	model.SettlesInTime:    ousted,
	model.LocalDeadline:    ousted,
}

// TestEveryRuleIsNeeded: without any one of them something breaks; with -v its
// shortest trace is shown. And with all of them nothing does, in the same weather.
func TestEveryRuleIsNeeded(t *testing.T) {
	for _, rule := range model.AllRules() {
		t.Run(rule.String(), func(t *testing.T) {
			w := model.Breaking(rule)
			r := model.Explore(&w.Config, ruleStates)
			if ruleStates > 0 && r.Violation == nil && !r.Complete {
				t.Skipf("nothing breaks in the first %d states: look without the race detector", r.States)
			}
			if r.Violation == nil {
				t.Fatalf("nothing breaks without it, in %d states", r.States)
			}
			t.Logf("%s: %d states; %v", w.Name, r.States, r.Violation)
			if want := breaks[rule]; want == "" || !strings.HasPrefix(r.Violation.Property, want) {
				t.Errorf("what breaks is %q, want %q", r.Violation.Property, want)
			}
			w.Config.Off = 0
			if r := model.Explore(&w.Config, 2*min(r.States, states)); r.Violation != nil {
				t.Errorf("and with it: %v", r.Violation)
			}
		})
	}
}

// TestTracesAreTheSameEachTime: a hash that differs from process to process does
// not decide what is found first.
func TestTracesAreTheSameEachTime(t *testing.T) {
	w := model.Breaking(model.Remembers)
	first := model.Explore(&w.Config, 0)
	second := model.Explore(&w.Config, 0)
	if first.Violation.String() != second.Violation.String() || first.States != second.States {
		t.Errorf("%d states, %v\nthen %d states, %v", first.States, first.Violation, second.States, second.Violation)
	}
	t.Log(first.Violation)
}

func ExampleExplore() {
	// Two waiters of one run and one of another; a holder may stand still for longer
	// than its lease, and does not notice.
	r := model.Explore(&model.Config{
		Run: [model.Waiters]uint8{0, 0, 1}, Max: [model.Waiters]uint8{2, 2, 2},
		Foul: true, Pauses: 1, Off: model.LocalDeadline,
	}, 0)
	fmt.Println(strings.Join(r.Violation.Trace, "\n"))
	// Output:
	// w1 begins: it sends a claim
	// Redis executes the claim of w1: w1 is told: granted
	// w1 gets its answer: granted
	// the lease of w1 runs out
}
