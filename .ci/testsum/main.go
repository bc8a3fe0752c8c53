// Command testsum reads what go test -json prints, shows what a person wants to see of it, and appends the counts to a
// file. What it does not do is decide: go test's own exit status does.
//
//	go test -json ./... | testsum label file
//
// Lines of the file, separated by tabs:
//
//	sum   label  passed  failed  skipped
//	skip  label  package.Test  reason
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// event is one line of go test -json: go doc test2json.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
}

// test names a test in its package; a package as a whole is the one without a name.
type test struct{ pkg, name string }

// sum is what has been seen so far.
type sum struct {
	passed, failed, skipped int

	output map[test]*bytes.Buffer // of the tests that have not ended
	broken map[string]bool        // packages in which a test failed
	skips  []string               // lines for the file
	label  string
	screen io.Writer
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go test -json … | testsum label file")
		os.Exit(2)
	}
	s := &sum{output: map[test]*bytes.Buffer{}, broken: map[string]bool{}, label: os.Args[1], screen: os.Stdout}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if err := s.append(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}

func (s *sum) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(s.screen, "%s", line) // of go itself: a package that cannot be loaded
			} else {
				s.take(e)
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("standard input: %w", err)
		}
	}
}

func (s *sum) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		if e.Test == "" {
			s.line(e.Output)
			return
		}
		if s.output[t] == nil {
			s.output[t] = &bytes.Buffer{}
		}
		s.output[t].WriteString(e.Output)
	case "build-output":
		s.line(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageEnded(e)
		} else {
			s.testEnded(t, e.Action)
		}
	}
}

// line shows what a package prints, but for the word with which every one ends.
func (s *sum) line(text string) {
	if text != "PASS\n" {
		fmt.Fprint(s.screen, text)
	}
}

func (s *sum) testEnded(t test, action string) {
	text := ""
	if b := s.output[t]; b != nil {
		text = b.String()
		delete(s.output, t)
	}
	switch action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		s.skips = append(s.skips, strings.Join([]string{"skip", s.label, short(t.pkg) + "." + t.name, reason(text)}, "\t"))
	case "fail":
		s.failed++
		s.broken[t.pkg] = true
		fmt.Fprint(s.screen, text)
	}
}

// packageEnded counts a package that failed without one of its tests: it panicked, leaked, or did not compile.
func (s *sum) packageEnded(e event) {
	if e.Action != "fail" || s.broken[e.Package] {
		return
	}
	s.failed++
	for _, t := range slices.SortedFunc(maps.Keys(s.output), func(a, b test) int { return strings.Compare(a.name, b.name) }) {
		if t.pkg == e.Package {
			fmt.Fprint(s.screen, s.output[t])
			delete(s.output, t)
		}
	}
}

var logged = regexp.MustCompile(`(?m)^\s+\S+\.go:\d+: (.*)$`)

// reason is what a skipped test logged last.
func reason(text string) string {
	lines := logged.FindAllStringSubmatch(text, -1)
	if len(lines) == 0 {
		return "no reason given"
	}
	return strings.ReplaceAll(lines[len(lines)-1][1], "\t", " ")
}

// short is a package's path below that of the module.
func short(pkg string) string {
	parts := strings.Split(pkg, "/")
	return strings.Join(parts[min(3, len(parts)-1):], "/")
}

func (s *sum) append(name string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the name is .ci/run's
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "sum\t%s\t%d\t%d\t%d\n", s.label, s.passed, s.failed, s.skipped)
	for _, line := range s.skips {
		fmt.Fprintln(f, line)
	}
	return f.Close()
}
