package torture

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A record tells of one done: which job's, by which grant.
type doneRecord struct {
	key   string
	fence int64
}

// doneShape is a record of a job that is done: its newest grant ended so.
var doneShape = regexp.MustCompile(`^Jd\d{14} \d+ \d+ \d{14} \d+ \d+ (\d{19}) [\w-]{11} \d+ \d+ d `)

// doneOf reads a record: job is the place, 4 digits, the key, j, 4 digits, the run.
func doneOf(place, record string) (doneRecord, bool) {
	m := doneShape.FindStringSubmatch(record)
	if m == nil || len(place) < 9 {
		return doneRecord{}, false
	}
	size, err := strconv.ParseInt(place[:4], 16, 0)
	if err != nil || len(place) < 4+int(size) {
		return doneRecord{}, false
	}
	fence, err := strconv.ParseInt(m[1], 10, 64)
	return doneRecord{place[4 : 4+size], fence}, err == nil
}

// donesIn returns all dones that an append-only file tells of.
func donesIn(file []byte) []doneRecord {
	var all []doneRecord
	for len(file) > 0 {
		words, rest, ok := command(file)
		if !ok {
			break // cut off by the kill
		}
		file = rest
		if len(words) < 4 || !strings.EqualFold(words[0], "hset") || words[1] != "{failovers:0}:jobs" {
			continue
		}
		for i := 2; i+1 < len(words); i += 2 {
			if d, is := doneOf(words[i], words[i+1]); is {
				all = append(all, d)
			}
		}
	}
	return all
}

// command takes one command off an append-only file.
func command(file []byte) (words []string, rest []byte, ok bool) {
	number := func(prefix byte) (int, bool) {
		line, after, found := bytes.Cut(file, []byte("\r\n"))
		if !found || len(line) < 2 || line[0] != prefix {
			return 0, false
		}
		n, err := strconv.Atoi(string(line[1:]))
		file = after
		return n, err == nil
	}
	count, ok := number('*')
	for range count {
		size, is := number('$')
		if ok = ok && is && len(file) >= size+2; !ok {
			return nil, nil, false
		}
		words, file = append(words, string(file[:size])), file[size+2:]
	}
	return words, file, ok
}

// missing returns the dones that a node does not have, and what it has instead.
func missing(written []doneRecord, has map[string]string) map[doneRecord]string {
	records := make(map[string]string, len(has)) // by key
	for place, record := range has {
		if size, err := strconv.ParseInt(place[:4], 16, 0); err == nil {
			records[place[4:4+size]] = record
		}
	}
	forgotten := map[doneRecord]string{}
	for _, d := range written {
		record, known := records[d.key]
		if strings.Contains(record, fmt.Sprintf(" %019d ", d.fence)) && strings.HasPrefix(record, "Jd") {
			continue
		}
		forgotten[d] = "no record"
		if known {
			forgotten[d] = fmt.Sprintf("record %q", record[:min(len(record), 90)])
		}
	}
	return forgotten
}

// match notes which dones were forgotten, and counts those that a worker was told of,
// and the others.
func (f *failovers) match(forgotten map[doneRecord]string, killed time.Time) (lost, unheard int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for d, instead := range forgotten {
		i := slices.IndexFunc(f.dones[d.key], func(x finished) bool { return x.fence == d.fence })
		switch {
		case i < 0:
			unheard++
		case f.dones[d.key][i].lost == "":
			// It may stand at the promoted node since, if its worker asked once more.
			again := slices.ContainsFunc(f.dones[d.key], func(x finished) bool { return x.fence > d.fence })
			if !again {
				unheard++
				continue
			}
			f.dones[d.key][i].lost = instead
			lost++
		}
	}
	if f.replicas > 0 && lost > 0 {
		f.t.Errorf("%d dones were lost that a replica had acknowledged", lost)
	}
	return lost, unheard
}

// checkDoubled looks at the jobs that were done more than once: each but the last must
// have been forgotten. It counts those that it has not seen before.
func (f *failovers) checkDoubled() (doubled int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	const shown = 5
	for key, dones := range f.dones {
		slices.SortFunc(dones, func(a, b finished) int { return cmp.Compare(a.fence, b.fence) })
		for i, d := range dones[:len(dones)-1] {
			switch later := dones[i+1]; {
			case later.fence == d.fence:
				f.t.Errorf("job %s was told to be done twice by the grant %d", key, d.fence)
			case d.lost == "":
				f.t.Errorf("G4: job %s was done with fence %d and with %d, and the first was not forgotten", key, d.fence, later.fence)
			case !d.told:
				if doubled++; doubled <= shown {
					fmt.Printf("  job %s: done with fence %d, and again with %d; the append-only file of the killed primary has the first, the promoted node had %s\n", key, d.fence, later.fence, d.lost)
				}
				dones[i].told = true
			}
		}
	}
	if doubled > shown {
		fmt.Printf("  … and %d more, each of them found in the one and not in the other\n", doubled-shown)
	}
	return doubled
}
