package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/variant"
)

// A broken is lockingworker with one thing broken, and what must notice it.
type broken struct {
	name  string
	check string
	edits []variant.Edit
}

var brokens = []broken{
	{"a lock is free before its lease is over", "G1", []variant.Edit{
		{File: "lock/entry.lua", Old: "return e > now and 'held' or 'lapsed', e", New: "return e > now + 100 and 'held' or 'lapsed', e"},
	}},
	{"a deadline counts from the reply", "G2", []variant.Edit{
		{File: "lock/verdict.go", Old: "c.sent, c.stamp = sent, stamp", New: "c.sent, c.stamp = l.now(), stamp"},
	}},
	{"a lease that is over is begun with", "G2", []variant.Edit{
		{File: "lock/keeper.go", Old: "if le.deadline <= now {\n\t\tk.mu.Unlock()", New: "if false {\n\t\tk.mu.Unlock()"},
	}},
	{"the fence does not grow", "G3", []variant.Edit{
		{File: "lock/head.lua", Old: "local function nextFence()", New: "local function nextFence() return meta[2] or format('%016.0f', us) end local function unused()"},
	}},
	{"fences come from a counter that can be lost", "G3", []variant.Edit{
		{File: "lock/head.lua", Old: "local function nextFence()", New: "local function nextFence() return format('%016.0f', tonumber(meta[2] or '0') + 1) end local function unused()"},
	}},
	{"done is forgotten", "outcome", []variant.Edit{
		{File: "lock/settle.lua", Old: "j.state = 'd'\n", New: "j.state = 'f'\n"},
		{File: "lock/settle.lua", Old: "'Jd' .. ms(0)", New: "'Jf' .. ms(0)"},
	}},
	{"a run that is done is granted again", "G4", []variant.Edit{
		{File: "lock/claim.lua", Old: "j.state == 'd' and 'done' or", New: "false and 'done' or"},
	}},
	{"records are forgotten too soon", "retention", []variant.Edit{
		{File: "lock/record.lua", Old: "num(from + math.max(tonumber(j.retention), lease, delay or 0) + lease)", New: "num(from + lease)"},
		{File: "lock/settle.lua", Old: "num(now + math.max(tonumber(retention), length) + length)", New: "num(now + length)"},
	}},
	{"a settlement's fence is not compared", "G5", []variant.Edit{
		{File: "lock/settle.lua", Old: "if j.fence ~= fence or j.how ~= '-' then", New: "if j.how ~= '-' then"},
	}},
	{"fence and owner of a release are not compared", "G5", []variant.Edit{
		{File: "lock/entry.lua", Old: "return fenceIn(v) == fenceIn(want)", New: "return true"},
	}},
	{"a claim that is sent again is another one", "G8", []variant.Edit{
		{File: "lock/claim.lua", Old: "if holds(j, v) and j.nonce == nonce then", New: "if false then"},
		{File: "lock/claim.lua", Old: "if j and find(rec, ' ' .. nonce .. ' ', 1, true) then", New: "if false then"},
	}},
	{"the maximum is not compared", "G8", []variant.Edit{
		{File: "lock/settle.lua", Old: "elseif j.attempts >= j.max then", New: "elseif false then"},
		{File: "lock/claim.lua", Old: "if j and j.attempts >= max then", New: "if false then"},
	}},
	{"an attempt that is given back counts", "G8", []variant.Edit{
		{File: "lock/record.lua", Old: "ms(0), j.attempts - 1\n", New: "ms(0), j.attempts\n"},
	}},
	{"only messages wake", "G6 G7", []variant.Edit{
		{File: "lock/queue.go", Old: "d := min(a.left, probeTime-time.Millisecond)", New: "d := time.Hour + min(a.left, probeTime-time.Millisecond)"},
	}},
	{"the waiter of a lapsed offer stays the next", "G6 G7", []variant.Edit{
		{File: "lock/handover.lua", Old: "  dequeue(placeIn(m), waiterIn(m), arrivalIn(m))\n  gone[m] = true\n  return n + 1\n", New: "  return n\n"},
	}},
	{"only messages wake", "stuck", []variant.Edit{
		{File: "lock/queue.go", Old: "d := min(a.left, probeTime-time.Millisecond)", New: "d := time.Hour + min(a.left, probeTime-time.Millisecond)"},
	}},
}

// A variant whose lines are gone would no longer break anything.
func TestVariantsStand(t *testing.T) {
	for _, b := range brokens {
		variant.Apply(t, b.edits...)
	}
}

// A check that cannot fail proves nothing: each must notice what is broken, and
// again when the seed is repeated, in the same moments.
func TestBrokenVariants(t *testing.T) {
	if !*strictFlag {
		t.Skip("see make sim")
	}
	const (
		most   = 60 // seeds
		length = 30 * time.Second
	)
	for _, b := range brokens {
		t.Run(b.name+", "+b.check, func(t *testing.T) {
			binary := variant.Build(t, append(slices.Clone(strictly), b.edits...)...)
			for from := uint64(1); from <= most; from += 4 {
				seeds := seedsFrom(from, 4)
				outputs, _ := simulateStrictly(t, binary, length, seeds...)
				for i, seed := range seeds {
					found := b.noticed(outputs[i])
					if len(found) == 0 {
						continue
					}
					again, _ := simulateStrictly(t, binary, length, seed)
					if traceIn(again[0]) != traceIn(outputs[i]) || !slices.Equal(b.noticed(again[0]), found) {
						t.Errorf("seed %d again:\n%s\nfirst it was\n%s", seed, again[0], outputs[i])
					}
					t.Logf("seed %d, twice: %d violations, the first of which is\n%s", seed, len(found), found[0])
					return
				}
			}
			t.Fatalf("not noticed in %d seeds", most)
		})
	}
}

// noticed returns the violations that the check has found.
func (b broken) noticed(output string) (found []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if at, text, ok := strings.Cut(line, ": "); ok && !strings.Contains(at, " ") && strings.HasPrefix(text, b.check) {
			found = append(found, line)
		}
	}
	return found
}
