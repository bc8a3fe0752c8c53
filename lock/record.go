package lock

import (
	"slices"
	"strings"
	"time"
)

// parseRecord reads what Redis remembers of a job's run; head.lua tells its
// shape. lock is the entry of the job's lock, or "".
func parseRecord(id JobID, record, lock string, stamp int64) (JobInfo, bool) {
	info := JobInfo{ID: id}
	e, held := parseEntry(lock)
	held = held && !e.offered && e.left(stamp) > 0
	if held {
		info.TTL = e.left(stamp)
	}
	if record == "" {
		return info, true
	}
	p := recordParser{rest: record, ok: len(record) > 17 && record[0] == 'J'}
	if !p.ok {
		return info, false
	}
	state := record[1]
	notBefore, ok := parseDigits(record[2:16])
	p.rest, p.ok = record[17:], ok && record[16] == ' '
	info.Attempt, info.Max = int(p.number()), int(p.number())
	p.millis() // retention
	p.millis() // lease
	if notBefore > stamp/1000 {
		info.NotBefore = time.UnixMilli(notBefore)
	}
	for p.ok && p.rest != "" {
		info.Attempts = append(info.Attempts, p.attempt())
	}
	if !p.ok {
		return info, false
	}
	if len(info.Attempts) > 0 {
		newest := &info.Attempts[0]
		info.Owner, info.Fence, info.Cause = newest.Owner, newest.Fence, newest.Cause
		if newest.End == "" && !(held && e.fence == newest.Fence) {
			newest.End, newest.Ended = "lapsed", time.UnixMilli(stamp/1000)
		}
		if newest.End == "lapsed" && state == 'r' {
			state = 'f'
		}
	}
	slices.Reverse(info.Attempts)
	switch state {
	case 'r':
		info.State = JobRunning
	case 'f':
		info.State = JobFailed
	case 'a':
		info.State = JobAbsent
	case 'd':
		info.State = JobDone
	case 'x', 'p':
		info.State, info.Permanent = JobExhausted, state == 'p'
	default:
		return info, false
	}
	return info, true
}

// A recordParser takes fields off the front of a record, until one is not as it
// should be.
type recordParser struct {
	rest string
	ok   bool
}

func (p *recordParser) word() string {
	word, rest, found := strings.Cut(p.rest, " ")
	p.ok = p.ok && found
	if p.ok {
		p.rest = rest
	}
	return word
}

// exact is up to where Lua counts exactly, rounded down.
const exact int64 = 9e15

func (p *recordParser) number() int64 {
	word := p.word()
	n, ok := parseDigits(word)
	p.ok = p.ok && ok && len(word) <= 16 && n <= exact
	return n
}

// millis takes 14 digits.
func (p *recordParser) millis() {
	word := p.word()
	_, ok := parseDigits(word)
	p.ok = p.ok && ok && len(word) == 14
}

func (p *recordParser) bytes(n int64) string {
	if p.ok = p.ok && n <= int64(len(p.rest)); !p.ok {
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

var endWords = map[string]string{"-": "", "d": "done", "f": "failed", "x": "exhausted", "r": "returned", "l": "lapsed"}

func (p *recordParser) attempt() AttemptInfo {
	a := AttemptInfo{Number: int(p.number())}
	fence, ok := parseFence(p.word())
	a.Fence = fence
	p.ok = p.ok && ok && isNonce(p.word())
	granted, ended := p.number(), p.number()
	a.Granted = time.UnixMilli(granted)
	if ended > 0 {
		a.Ended = time.UnixMilli(ended)
	}
	end, known := endWords[p.word()]
	p.ok = p.ok && known
	a.End = end
	owner, cause := p.number(), p.number()
	a.Owner = p.bytes(owner)
	a.Cause = p.bytes(cause)
	return a
}
