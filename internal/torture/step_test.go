package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// A step is one line of what a process says that it did. Times are µs of the
// machine's clock, which is Redis's, too.
type step struct {
	At       int64
	Kind     kind
	ID       int    `json:",omitempty"` // of the operation in its process: of call, return
	Op       string `json:",omitempty"` // of call: acquire, settle or state of a job; see locks_test.go for those of plain locks
	Key      string `json:",omitempty"`
	Run      string `json:",omitempty"`
	Fence    int64  `json:",omitempty,string"`
	End      string `json:",omitempty"` // how the attempt is to end: of a settle
	Loose    bool   `json:",omitempty"` // of call: it does not wait, and what it is granted is not renewed
	Owner    string `json:",omitempty"` // of return: who holds the lock
	Deadline int64  `json:",omitempty"` // of call: when its context ends
	Result   string `json:",omitempty"` // of return: see the constants below
	Number   int    `json:",omitempty"` // of the attempt, or how many were counted
	State    string `json:",omitempty"` // that was read
	Error    string `json:",omitempty"`
	From     int64  `json:",omitempty"` // of gap: the process did not run from then to At

	err error // becomes Error
}

type kind string

const (
	stepCall   kind = "call"
	stepReturn kind = "return"
	stepLost   kind = "lost" // the context of the work ended, for the lease was lost
	stepGap    kind = "gap"
	stepDying  kind = "dying"  // the process is about to kill itself
	stepEnd    kind = "end"    // it ended as it was told to
	stepBroken kind = "broken" // something that must not be, noticed by the process itself
)

// Results of operations.
const (
	granted   = "granted"
	done      = "done"
	exhausted = "exhausted"
	refused   = "refused" // not granted, and nothing is told of why; or what was asked is not known
	settled   = "settled"
	lost      = "lost"
	unknown   = "unknown" // or there was no answer at all
	denied    = "denied"  // by Redis, which must not have done any of it
	told      = "told"    // of a state
)

func now() int64 { return time.Now().UnixMicro() }

// A journal is the file that a process writes its steps to. Each is on disk before
// the process goes on.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_SYNC, 0o600)
	return &journal{file: f}, err
}

// write appends steps; their time is that of the call, unless they have one.
func (j *journal) write(steps ...step) {
	var lines []byte
	for _, s := range steps {
		if s.At == 0 {
			s.At = now()
		}
		line, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(lines); err != nil {
		panic(err)
	}
}

// An operation is a call of a process with what came of it.
type operation struct {
	process  int
	step           // of the call
	returned int64 // 0: never
	answer   step  // of the return
}

// A life is what one process did, from start to end.
type life struct {
	process    int
	operations []*operation
	lost       map[int64]int64 // fence → when the work's context ended
	gaps       []span
	broken     []step
	born       int64
	died       int64 // 0: it ended as it was told to
}

type span struct{ from, to int64 }

// readJournal reads what a process did. A last line that was cut off when the
// process was killed is left out.
func readJournal(path string, process int) (*life, error) {
	text, err := os.ReadFile(path) //nolint:gosec // in a folder of our own
	if err != nil {
		return nil, err
	}
	l := &life{process: process, lost: map[int64]int64{}}
	calls := map[int]*operation{}
	for lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1])); lines.Scan(); {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, lines.Text(), err)
		}
		switch s.Kind {
		case stepCall:
			calls[s.ID] = &operation{process: process, step: s, answer: step{Result: unknown}}
			l.operations = append(l.operations, calls[s.ID])
		case stepReturn:
			calls[s.ID].returned, calls[s.ID].answer = s.At, s
		case stepLost:
			l.lost[s.Fence] = s.At
		case stepGap:
			l.gaps = append(l.gaps, span{s.From, s.At})
		case stepBroken:
			l.broken = append(l.broken, s)
		case stepDying, stepEnd:
		}
	}
	return l, nil
}

// stopped returns when a process that had to do something at a time could do so,
// seeing when it did not run, and how late its timers were.
func (l *life) stopped(at int64) int64 {
	for _, g := range l.gaps {
		if g.from-int64(slack/time.Microsecond) <= at && at < g.to {
			at = g.to
		}
	}
	return at
}
