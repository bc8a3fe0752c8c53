package main

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestPageHasEveryNumberAndItsRatio(t *testing.T) {
	t.Parallel()
	r := example()
	r.failsf("4", "redsync, round 2: no answer")
	page, err := r.markdown()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"|  | ours | redislock | our rounds |",
		"| lock + unlock p50, µs | **25** | 50 (0.5) | 20 – 40 |", // ours by redislock's, of the medians
		"| 1,000 | commands per grant | **27** | 3,000 (0.009) | 27 |",
		"| 1,000 | stuck, lockers | **0** | 0 | 0 |", // no ratio to nothing
		"| 50,000 | bytes a lease, B | **400** | 400 |",
		"1 of 2 are met",
		"| 4 | commands at 1,000 | ≤ 20 | 27 | **missed** |",
		"**Missed:** commands at 1,000 (must ≤ 20, is 27).",
		"scenario 4: redsync, round 2: no answer; that round is missing",
		"| redislock | `github.com/bsm/redislock` v0.9.4 | `Obtain`",
		"a processor, 4 cores",
		"There were 3 rounds.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"NaN", "Inf", "<no value>", "\n\n\n", "## 1. ", "quick run"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestEveryScenarioIsExplained(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		if s.title == "" || !strings.HasSuffix(s.about, ".") {
			t.Errorf("scenario %s says nothing of itself", s.id)
		}
	}
	for _, l := range libraries {
		if l.used == "" {
			t.Errorf("%s does not say how it is used", l.name)
		}
	}
}

func TestNotesBelongToScenarios(t *testing.T) {
	t.Parallel()
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(notes, -1) {
		if titleOf(heading[1]) == "" {
			t.Errorf("notes.md: %q is no scenario's number", heading[1])
		}
	}
}

// Numbers are never edited by hand: the page is what the program makes of the results beside it.
func TestPageIsTheProgramsOwn(t *testing.T) {
	t.Parallel()
	r, err := readReport("../docs/benchmarks.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("nothing has been measured yet: make bench")
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Quick {
		t.Error("docs/benchmarks.json is of a quick run, which measures nothing")
	}
	want, err := r.markdown()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/benchmarks.md differs from what is made of docs/benchmarks.json: make bench-page")
	}
}
