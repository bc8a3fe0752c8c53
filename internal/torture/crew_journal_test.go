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

// A crewNote is one line of a crew's journal. Times are µs of the machine's clock,
// which is that of all nodes, too.
type crewNote struct {
	Kind     string // tenure, lost, trouble, told or end
	Op       string `json:",omitempty"` // the call that was made: of trouble
	Resource string `json:",omitempty"`
	Job      bool   `json:",omitempty"` // the resource is a job's key
	Run      string `json:",omitempty"`
	Fence    int64  `json:",omitempty,string"`
	Number   int    `json:",omitempty"` // of the attempt
	Asked    int64  `json:",omitempty"` // when it was asked for
	Told     int64  `json:",omitempty"` // when the grant was known
	Until    int64  `json:",omitempty"` // until when it was used
	End      string `json:",omitempty"` // what came of it: done, failed, lost, released, or unknown
	At       int64  `json:",omitempty"` // when that was known, or the trouble
	Error    string `json:",omitempty"` // its kind
	Text     string `json:",omitempty"`

	Ops, Met       map[string]int `json:",omitempty"` // of end
	Least, Stalled time.Duration  `json:",omitempty"`
}

// What notes tell of.
const (
	noteTenure  = "tenure"  // a grant, from the claim to the end
	noteLost    = "lost"    // a lease that was held all the time has ended
	noteTrouble = "trouble" // an error that a call returned
	noteTold    = "told"    // an error that a worker told its handler, and went on
	noteEnd     = "end"     // the crew has ended as it was told to
)

type crewJournal struct {
	mu   sync.Mutex
	file *os.File
}

func (j *crewJournal) write(n crewNote) {
	line, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

// readCrew reads a crew's journal.
func readCrew(path string) ([]crewNote, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var notes []crewNote
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var n crewNote
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, lines.Text(), err)
		}
		notes = append(notes, n)
	}
	return notes, lines.Err()
}
