package torture

import (
	"maps"
	"math"
	"slices"
)

// A tenure is the time for which Redis had granted a resource: from a grant to its
// last renewal's end, or until it was released.
type tenure struct {
	fence    int64
	from, to int64
	last     int64 // when it was granted or renewed last
	settled  bool  // released, before it ran out
	broken   bool  // the monitor has perhaps not seen all of it
}

// checkIntervals makes the tenures of each resource out of what Redis executed,
// and finds those that overlap (G1), fences that do not grow (G3), leases that
// were revived (G5), and nonces with two grants (G8). Where data was lost, only
// the fences must still grow.
func checkIntervals(m *monitor, keepsData bool, v *verdict) map[string][]tenure {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string][]tenure{}
	for key, writes := range maps.All(m.writes) {
		all[key] = tenures(m, key, writes, keepsData, v)
	}
	return all
}

func tenures(m *monitor, key string, writes []write, keepsData bool, v *verdict) []tenure {
	var ts []tenure
	var held *tenure // until its entry is removed or replaced
	nonces := map[string]int64{}
	highest, previous := int64(0), int64(0)
	for _, w := range writes {
		unbroken := keepsData && !m.broken(previous, w.at)
		previous = w.at
		switch {
		case w.kind == 'L' && w.fence == 0:
			v.violate("monitor", w.at, "%q: an entry of locks is not as it is known here", key)
		case w.kind != 'L':
			if held != nil && w.at < held.to {
				held.to, held.settled = w.at, true
			}
			held = nil
		case held != nil && held.fence == w.fence:
			if unbroken {
				v.checked("G5", 1)
			}
			if w.granted() >= held.to && unbroken {
				v.violate("intervals G5", w.at, "%q: the lease of fence %d had run out, and was renewed", key, w.fence)
			}
			held.to, held.last = max(held.to, w.expiry), w.granted()
		default:
			if len(ts) > 0 {
				v.checked("G3", 1)
			}
			if len(ts) > 0 && unbroken {
				v.checked("G1", 1)
			}
			if len(ts) > 0 && keepsData && isJob(key) {
				v.checked("G8", 1)
			}
			if held != nil && w.granted() < held.to && unbroken {
				v.violate("intervals G1", w.at, "%q: fence %d was granted %d µs before fence %d had run out", key, w.fence, held.to-w.granted(), held.fence)
			}
			if w.fence <= highest {
				v.violate("intervals G3", w.at, "%q: fence %d was granted after fence %d", key, w.fence, highest)
			}
			if f, used := nonces[w.nonce]; used && keepsData && isJob(key) { // a plain lock remembers no nonce that is over
				v.violate("intervals G8", w.at, "%q: fences %d and %d were granted to one claim", key, f, w.fence)
			}
			highest, nonces[w.nonce] = max(highest, w.fence), w.fence
			ts = append(ts, tenure{fence: w.fence, from: w.granted(), to: w.expiry, last: w.granted()})
			held = &ts[len(ts)-1]
		}
	}
	for i := range ts {
		ts[i].broken = m.broken(ts[i].from-slack.Microseconds(), ts[i].to+slack.Microseconds())
	}
	return ts
}

// checkReleases finds locks that were released, before they ran out, though nobody
// asked for that with their fence (G5). Grants that no process was told of are given
// back by themselves.
func checkReleases(lives []*life, all map[string][]tenure, v *verdict) {
	told := map[int64]bool{}
	asked := map[int64][]span{}
	for _, l := range lives {
		for _, o := range l.operations {
			switch {
			case o.answer.Result == granted:
				told[o.answer.Fence] = true
			case o.Op == "settle" || o.Op == "unlock" || o.Op == "release":
				until := o.returned
				if o.answer.Result == unknown {
					until = math.MaxInt64
				}
				asked[o.Fence] = append(asked[o.Fence], span{o.At - clockStep, until})
			}
		}
	}
	for key, ts := range all {
		for _, t := range ts {
			if !t.settled || t.broken || !told[t.fence] {
				continue
			}
			v.checked("G5", 1)
			if !slices.ContainsFunc(asked[t.fence], func(s span) bool { return s.from <= t.to && t.to <= s.until() }) {
				v.violate("intervals G5", t.to, "%q: fence %d was released, and nobody had asked for it", key, t.fence)
			}
		}
	}
}

// clockStep is by how much what MONITOR tells may be off: Redis notes the time once
// for all that it does in one go.
const clockStep = 50_000

// until is the end of the span, with what Redis's clock may be off.
func (s span) until() int64 {
	if s.to == math.MaxInt64 {
		return s.to
	}
	return s.to + clockStep
}
