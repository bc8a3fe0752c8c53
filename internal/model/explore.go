package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// A Result is what an exploration came to.
type Result struct {
	States    int  // how many were visited
	Depth     int  // steps to the farthest
	Complete  bool // all states were visited: none is left out by the limit
	Violation *Violation
}

// A Violation is one state, or one way on, that must not be.
type Violation struct {
	Property string   // what is broken, in words
	Who      string   // who wants what, in words
	Trace    []string // a shortest way there, one step each
	Again    int      // so many steps at its end come again and again; 0: it ends
}

// String returns all of it, a line for each step.
func (v *Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", v.Property, v.Who)
	for i, t := range v.Trace {
		if v.Again > 0 && i == len(v.Trace)-v.Again {
			fmt.Fprintf(&b, "      and from here on, again and again:\n")
		}
		fmt.Fprintf(&b, "%4d. %s\n", i+1, t)
	}
	return b.String()
}

// An explorer remembers states by 64 bits of their hash. That two of n states
// share them has a chance of n²/2⁶⁵: one in 40,000 for thirty million.
type explorer struct {
	cfg    *Config
	seed   maphash.Seed
	hashes []uint64 // a hash table, open, a power of two
	number []uint32 // of the state that stands there, plus one
	parent []uint32
	next   []uint32 // by the schedule in which nothing goes wrong
	limit  int
}

const (
	nobody      = ^uint32(0) // no next state: the end
	nobodyWaits = nobody - 1 // nobody waits there
)

// Explore visits all states, or as many as limit says (0: no limit), until it finds
// a violation.
func Explore(cfg *Config, limit int) Result {
	x := &explorer{cfg: cfg, seed: maphash.MakeSeed(), limit: limit}
	x.room(1 << 16)
	return x.explore()
}

func (c *Config) initial() state {
	var s state
	s.budget = [budgets]uint8{
		cancels: c.Cancels, delays: c.Delays, permanents: c.Permanents, returns: c.Returns, losses: c.Losses,
		drops: c.Drops, doubles: c.Doubles, crashes: c.Crashes, pauses: c.Pauses,
	}
	return s
}

func (x *explorer) hash(s *state) uint64 { return maphash.Comparable(x.seed, *s) }

// visit returns the number of a state, and whether it is new.
func (x *explorer) visit(s *state, parent uint32) (uint32, bool) {
	if 3*len(x.parent) > 2*len(x.hashes) {
		x.grow()
	}
	h := x.hash(s)
	k := x.find(h)
	if at := x.number[k]; at != 0 {
		return at - 1, false
	}
	x.parent = append(x.parent, parent)
	x.next = append(x.next, nobody)
	x.hashes[k], x.number[k] = h, uint32(len(x.parent))
	return x.number[k] - 1, true
}

// find returns where a hash stands, or may be put.
func (x *explorer) find(h uint64) uint64 {
	mask := uint64(len(x.hashes) - 1)
	k := h & mask
	for x.number[k] != 0 && x.hashes[k] != h {
		k = (k + 1) & mask
	}
	return k
}

func (x *explorer) room(n int) { x.hashes, x.number = make([]uint64, n), make([]uint32, n) }

func (x *explorer) grow() {
	hashes, number := x.hashes, x.number
	x.room(2 * len(hashes))
	for i, n := range number {
		if n != 0 {
			k := x.find(hashes[i])
			x.hashes[k], x.number[k] = hashes[i], n
		}
	}
}

func (x *explorer) explore() Result {
	start := x.cfg.initial()
	x.visit(&start, nobody)
	level, first := []state{start}, uint32(0)
	r := Result{}
	w := world{cfg: x.cfg}
	for len(level) > 0 {
		var below []state
		for k := range level {
			if x.limit > 0 && len(x.parent) >= x.limit {
				r.States = len(x.parent)
				return r
			}
			s, at := &level[k], first+uint32(k)
			bad := nobody
			next, urgency := nobody, never
			x.cfg.steps(s, func(st step, u int) {
				w.s = *s
				w.take(st)
				to, isNew := x.visit(&w.s, at)
				if u < urgency {
					next, urgency = to, u
				}
				if !isNew {
					return
				}
				if w.s.broken != fine && bad == nobody {
					bad = to
				}
				below = append(below, w.s)
			})
			if bad != nobody {
				return x.violated(r, bad, fine)
			}
			if next == nobody && s.answeredAll() {
				next = nobodyWaits
			}
			if x.next[at] = next; next == nobody {
				return x.violated(r, at, stuck)
			}
		}
		first += uint32(len(level))
		level = below
		r.Depth++
	}
	r.States, r.Depth, r.Complete = len(x.parent), r.Depth-1, true
	if at := x.cycle(); at != nobody {
		return x.violated(r, at, endless)
	}
	return r
}

// cycle finds a state from which, though nothing goes wrong any more, the steps
// that are due go on for ever: the first found is nearest to the beginning.
func (x *explorer) cycle() uint32 {
	const unseen, onPath, good, bad = 0, 1, 2, 3
	seen := make([]uint8, len(x.next))
	worst := nobody
	var path []uint32
	for from := range x.next {
		path = path[:0]
		at := uint32(from)
		for at != nobodyWaits && seen[at] == unseen {
			seen[at] = onPath
			path = append(path, at)
			at = x.next[at]
		}
		verdict := uint8(good)
		if at != nobodyWaits && seen[at] != good {
			verdict = bad
		}
		if verdict == bad && seen[at] == onPath && at < worst {
			worst = at
		}
		for _, p := range path {
			seen[p] = verdict
		}
	}
	return worst
}

// violated makes the trace to a state: the way is known by its numbers, and walked
// once more for the words.
func (x *explorer) violated(r Result, at uint32, p property) Result {
	var way []uint32
	for n := at; n != nobody; n = x.parent[n] {
		way = append(way, n)
	}
	slices.Reverse(way)
	v := &Violation{Who: x.cfg.words()}
	if p == endless {
		for n := x.next[at]; n != at; n = x.next[n] {
			way = append(way, n)
		}
		way = append(way, at)
		v.Again = len(way) - 1 - slices.Index(way, at)
	}
	s := x.cfg.initial()
	for _, n := range way[1:] {
		reached, text := x.walk(&s, n)
		v.Trace = append(v.Trace, text)
		s = reached
	}
	if p == fine {
		p = s.broken
	}
	v.Property = propertyWords[p]
	r.States = len(x.parent)
	r.Violation = v
	return r
}

// walk takes the step from s to the state with number n, and tells of it.
func (x *explorer) walk(s *state, n uint32) (state, string) {
	w := world{cfg: x.cfg, trace: true}
	var reached state
	text := ""
	x.cfg.steps(s, func(st step, _ int) {
		if text != "" {
			return
		}
		w.s = *s
		w.take(st)
		if to, _ := x.visit(&w.s, nobody); to == n {
			reached, text = w.s, words(s, st, w.notes)
		}
	})
	return reached, text
}
