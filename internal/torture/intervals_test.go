package torture

import "maps"

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
	v.checked("G3")
	if keepsData {
		v.checked("G1", "G5", "G8")
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
			if w.granted() >= held.to && unbroken {
				v.violate("intervals G5", w.at, "%q: the lease of fence %d had run out, and was renewed", key, w.fence)
			}
			held.to, held.last = max(held.to, w.expiry), w.granted()
		default:
			if held != nil && w.granted() < held.to && unbroken {
				v.violate("intervals G1", w.at, "%q: fence %d was granted %d µs before fence %d had run out", key, w.fence, held.to-w.granted(), held.fence)
			}
			if w.fence <= highest {
				v.violate("intervals G3", w.at, "%q: fence %d was granted after fence %d", key, w.fence, highest)
			}
			if f, used := nonces[w.nonce]; used && keepsData {
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
