package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readPicture returns the run that is in a file, which must be well-formed XML and exactly what is drawn of that run.
func readPicture(t *testing.T, file string) *picture {
	t.Helper()
	drawn, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(drawn)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	var doc struct {
		XMLName  xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		Metadata string   `xml:"metadata"`
	}
	if err := xml.Unmarshal(drawn, &doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var p picture
	if err := json.Unmarshal([]byte(doc.Metadata), &p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if !bytes.Equal(p.svg(), drawn) {
		t.Errorf("%s is not what this program draws of the run that is in it: make picture", file)
	}
	return &p
}

// check compares what was drawn with the summary.
func (p *picture) check(t *testing.T) result {
	t.Helper()
	s, err := parseSummary([]string{p.Summary})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Lanes) != s.workers {
		t.Errorf("%d lanes of %d workers", len(p.Lanes), s.workers)
	}
	executions := 0
	for _, l := range p.Lanes {
		executions += len(l.Spans)
		for _, a := range l.Spans {
			if l.Begin > a.Begin || a.Begin > a.End || a.End > l.End || looksOf[a.How].mark == "" {
				t.Errorf("worker %d, from %d to %d µs: attempt %+v", l.Worker, l.Begin, l.End, *a)
			}
			if a.How == endDone && l.Worker != s.winner {
				t.Errorf("worker %d was done, the winner is %d", l.Worker, s.winner)
			}
		}
	}
	if executions != s.executions {
		t.Errorf("%d executions of %d", executions, s.executions)
	}
	return s
}

// hows are the ends of all attempts.
func (p *picture) hows() map[ending]int {
	n := map[ending]int{}
	for _, l := range p.Lanes {
		for _, a := range l.Spans {
			n[a.How]++
		}
	}
	return n
}

// The README's picture is of a real run, in which an attempt failed, one was killed, and one was done.
func TestREADMEPicture(t *testing.T) {
	t.Parallel()
	p := readPicture(t, filepath.Join("..", "..", "docs", "handover.svg"))
	if s := p.check(t); s.outcome != "completed" || s.attempts != 3 {
		t.Errorf("summary %+v", s)
	}
	if n := p.hows(); n[endFailed] != 1 || n[endKilled] != 1 || n[endDone] != 1 {
		t.Errorf("ends of attempts: %v", n)
	}
	flags, _ := newFlags()
	if err := flags.Parse(strings.Fields(p.Command)[3:]); err != nil || !strings.HasPrefix(p.Command, "go run ./examples/cluster ") {
		t.Errorf("command %q: %v", p.Command, err)
	}
}

func TestPictureIsOfTheRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "run.svg")
	p := start(t, "-workers", "3", "-success", "1", "-kill", "1", "-work", "300ms", "-lock-timeout", "500ms", "-key", "<&>", "-svg", file)
	status, s := p.finish()
	if status != 0 || s.attempts != 2 || s.executions != 2 || count(p.output(), `ended: signal: killed$`) != 1 {
		t.Errorf("exit status %d, %+v", status, s)
	}
	drawn := readPicture(t, file)
	if got := drawn.check(t); got != s {
		t.Errorf("drawn: %+v, printed: %+v", got, s)
	}
	if n := drawn.hows(); n[endKilled] != 1 || n[endDone] != 1 {
		t.Errorf("ends of attempts: %v", n)
	}
	if regexp.MustCompile(`-key|-svg`).MatchString(drawn.Command) {
		t.Errorf("command %q", drawn.Command)
	}
}

func TestPictureThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "1", "-success", "1", "-svg", filepath.Join(t.TempDir(), "no", "folder.svg"))
	<-p.ended
	<-p.gone
	if status := p.cmd.ProcessState.ExitCode(); status != 1 || !strings.Contains(p.stderr(), "folder.svg") {
		t.Errorf("exit status %d: %s", status, p.stderr())
	}
}
