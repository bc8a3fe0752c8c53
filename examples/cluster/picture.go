package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// picture is a run to be drawn: one lane for each worker's process. It is part of the file that it is drawn into, so that
// the file can be drawn anew. Times are µs since the program began.
type picture struct {
	Command string  `json:"command"`
	Summary string  `json:"summary"`
	Lanes   []*lane `json:"lanes"`

	began time.Time
}

// lane is one worker's process.
type lane struct {
	Worker int     `json:"worker"`
	Begin  int64   `json:"begin"`
	End    int64   `json:"end"`
	Killed bool    `json:"killed,omitempty"`
	Spans  []*span `json:"spans,omitempty"`
}

// span is an attempt at the work, as its worker reported it.
type span struct {
	Attempt int    `json:"attempt"`
	Begin   int64  `json:"begin"`
	End     int64  `json:"end"`
	How     ending `json:"how"` // empty while it works
}

type ending string

const (
	endDone      ending = "done"
	endFailed    ending = "failed"
	endKilled    ending = "killed"
	endLost      ending = "lost"
	endGivenBack ending = "given back"
)

var endings = map[event]ending{
	eventCompleted:   endDone,
	eventFailed:      endFailed,
	eventLost:        endLost,
	eventInterrupted: endGivenBack,
}

func newPicture(flags *flag.FlagSet, began time.Time) *picture {
	command := []string{"go run ./examples/cluster"}
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains([]string{"redis", "key", "svg"}, f.Name) { // a password, what was drawn, this file
			command = append(command, fmt.Sprintf("-%s %s", f.Name, f.Value))
		}
	})
	return &picture{Command: strings.Join(command, " "), began: began}
}

func (p *picture) at(t time.Time) int64 { return t.Sub(p.began).Microseconds() }

func (p *picture) lane(worker int) *lane {
	for _, l := range p.Lanes {
		if l.Worker == worker {
			return l
		}
	}
	return &lane{} // never: every worker is started first
}

func (p *picture) start(worker int) {
	p.Lanes = append(p.Lanes, &lane{Worker: worker, Begin: p.at(time.Now())})
}

func (p *picture) add(r report) {
	l := p.lane(r.Worker)
	if r.Event == eventAcquired {
		l.Spans = append(l.Spans, &span{Attempt: r.Attempt, Begin: p.at(r.Time)})
	} else if how, ok := endings[r.Event]; ok {
		l.settle(p.at(r.Time), how)
	}
}

func (p *picture) end(worker int, killed bool) {
	l := p.lane(worker)
	l.End, l.Killed = p.at(time.Now()), killed
}

// close settles what no worker has reported. It is called when all reports are in: the end of a process may be known
// before the last of them.
func (p *picture) close(summary string) {
	p.Summary = summary
	for _, l := range p.Lanes {
		if l.Killed {
			l.settle(l.End, endKilled)
		}
		l.settle(l.End, endLost)
	}
}

// settle ends what the worker is at, if it is at anything.
func (l *lane) settle(at int64, how ending) {
	if len(l.Spans) == 0 {
		return
	}
	if s := l.Spans[len(l.Spans)-1]; s.How == "" {
		s.End, s.How = at, how
	}
}

// before returns the attempt that ended last before this one began; nil for the first.
func (p *picture) before(s *span) *span {
	var last *span
	for _, l := range p.Lanes {
		for _, o := range l.Spans {
			if o != s && o.End <= s.Begin && o.How != "" && (last == nil || o.End > last.End) {
				last = o
			}
		}
	}
	return last
}
