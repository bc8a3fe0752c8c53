package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockingworker/lockingworker/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestExplorePrintsWhatItVisited: a row for the weather, and the sum.
func TestExplorePrintsWhatItVisited(t *testing.T) {
	var out strings.Builder
	if !explore(&out, "fair, comes again", 1000) || !strings.Contains(out.String(), "| fair, comes again | 100") {
		t.Errorf("printed\n%s", &out)
	}
}

func TestUnknownWeatherIsAnError(t *testing.T) {
	var out strings.Builder
	if explore(&out, "snow", 1000) || !strings.Contains(out.String(), `no weather "snow"`) {
		t.Errorf("printed\n%s", &out)
	}
}

// TestWithoutPrintsWhatBreaks: as a table, or with its trace.
func TestWithoutPrintsWhatBreaks(t *testing.T) {
	rules := []model.Rule{model.LocalDeadline, model.OwnNonce}
	for traces, want := range map[bool]string{
		false: "| LocalDeadline | a pause | a holder works",
		true:  "4. the lease of w1 runs out",
	} {
		var out strings.Builder
		if !without(&out, rules, traces) || !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%s\nwant %q", &out, want)
		}
	}
}
