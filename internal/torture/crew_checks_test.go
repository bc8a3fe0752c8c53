package torture

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// A crewVerdict is what came of one stage: what the crews noted, held against
// what Redis remembers in the end.
type crewVerdict struct {
	verdict
	ops      map[string]int // calls by name
	errors   map[string]int // that calls returned, by kind; those that are explained by a loss are not among them
	excused  map[string]int // that calls returned, and that a loss explains
	told     map[string]int // that workers told their handlers, and went on
	met      map[string]int // errors that single commands were answered with
	held     int            // leases that were held all the time
	heldLost int
	runs     int           // of jobs that were done
	matched  int           // dones that were done again, and are missing on the promoted node
	overlaps int           // grants that a later one overlapped, and that a loss explains
	gap      time.Duration // the longest time between two renewals of a lease that was held
	stalled  time.Duration // the longest time for which a crew did not run
}

// Losses are the times in which a killed master may have acknowledged what its
// replica never got. Without any, condition C holds.
type losses []span

// has tells whether one lies between two moments, at least partly.
func (ls losses) has(from, to int64) bool {
	return slices.ContainsFunc(ls, func(l span) bool { return from <= l.to && l.from <= to })
}

// checkCrews checks what the crews noted against the records that Redis has in
// the end. ls are when acknowledged writes may have been lost.
func checkCrews(notes []crewNote, records map[lock.JobID]lock.JobInfo, ttl time.Duration, ls losses) *crewVerdict {
	v := &crewVerdict{ops: map[string]int{}, errors: map[string]int{}, excused: map[string]int{}, told: map[string]int{}, met: map[string]int{}}
	byResource := map[string][]crewNote{}
	byRun := map[lock.JobID][]crewNote{}
	least := ttl
	for _, n := range notes {
		switch n.Kind {
		case noteTenure:
			v.grants++
			byResource[n.Resource] = append(byResource[n.Resource], n)
			if n.Job {
				id := lock.JobID{Key: n.Resource, Run: n.Run}
				byRun[id] = append(byRun[id], n)
			}
		case noteLost:
			v.heldLost++
			// What was granted long before is on the replica. So is every renewal but
			// the last ones, and a failover takes less than is left then.
			if !ls.has(n.Asked, n.Told) {
				v.violate("leases", n.At, "%q: the lease of fence %d was lost", n.Resource, n.Fence)
			}
		case noteTrouble:
			checkCrewTrouble(n, ls, v)
		case noteTold:
			v.told[n.Error]++
			if strings.Contains(n.Text, "could not be recorded") {
				check := "errors"
				if n.Error == lock.ErrOutcomeUnknown.Error() { // without C its record may be gone
					check = "errors G1"
				}
				v.violate(check, n.At, "%q %q: %s", n.Resource, n.Run, n.Text)
			}
		case noteEnd:
			for op, count := range n.Ops {
				v.ops[op] += count
				if !strings.HasPrefix(op, "event ") {
					v.operations += count
				}
			}
			for word, count := range n.Met {
				v.met[word] += count
			}
			least, v.stalled = min(least, n.Least), max(v.stalled, n.Stalled)
		}
	}
	v.gap = ttl - ttl/64 - 2*time.Millisecond - least // as deadlines are counted
	for resource, ts := range byResource {
		checkCrewTenures(resource, ts, ls, v)
	}
	for id, ts := range byRun {
		checkCrewRun(id, ts, records, ls, v)
	}
	return v
}

// checkCrewTrouble judges an error that a call returned. Each is one that should
// have been dealt with inside, but for what a killed master explains: the grant that
// the call was about, or the call itself, falls into the time of a loss.
func checkCrewTrouble(n crewNote, ls losses, v *crewVerdict) {
	check := "errors"
	switch n.Error {
	case lock.ErrLeaseLost.Error(), lock.ErrNotHeld.Error(), lock.ErrHeld.Error(), lock.ErrOutcomeUnknown.Error():
		if ls.has(n.Told, n.Told) || ls.has(n.Asked, n.At) {
			v.excused[n.Error]++
			return
		}
		check = "errors G1"
	}
	v.errors[n.Error]++
	v.violate(check, n.At, "%s of %q: %s", n.Op, n.Resource, n.Text)
}

// judgeWithoutC leaves out what can come of it when any write may have been lost,
// whenever it was acknowledged: all that condition C is for. What remains is that
// fences grow, that the stale settle nothing, and that no call returns an error of
// another kind.
func (v *crewVerdict) judgeWithoutC() {
	v.violations = slices.DeleteFunc(v.violations, func(x violation) bool {
		return x.check == "leases" || strings.Contains(x.check, "G1") || strings.Contains(x.check, "G4")
	})
}

// granted returns when Redis granted it.
func (n *crewNote) granted() int64 { return n.Fence / 1000 }

// checkCrewTenures finds grants of a resource that overlap (G1), but for those that
// were lost with a master, and fences that do not grow (G3), for which there is no
// excuse.
func checkCrewTenures(resource string, ts []crewNote, ls losses, v *crewVerdict) {
	slices.SortFunc(ts, func(a, b crewNote) int { return cmp.Compare(a.Fence, b.Fence) })
	var longest, latest *crewNote // used until last, and asked for last, of those with smaller fences
	for i := range ts {
		t := &ts[i]
		if i > 0 && ts[i-1].Fence == t.Fence {
			v.violate("tenures G3", t.At, "%q: fence %d was granted twice", resource, t.Fence)
		}
		if latest != nil && t.Told < latest.Asked {
			v.violate("tenures G3", t.At, "%q: fence %d was granted before fence %d was asked for", resource, t.Fence, latest.Fence)
		}
		if longest != nil && t.granted() < longest.Until {
			if ls.has(longest.Asked, longest.Told) {
				v.overlaps++
			} else {
				v.violate("tenures G1", t.At, "%q: fence %d was granted %v before fence %d was given up",
					resource, t.Fence, micros(longest.Until-t.granted()), longest.Fence)
			}
		}
		if longest == nil || t.Until > longest.Until {
			longest = t
		}
		if latest == nil || t.Asked > latest.Asked {
			latest = t
		}
	}
}

// checkCrewRun finds jobs that were not settled once (G4): a done that was
// acknowledged must stand in Redis, and be the only one, unless it was acknowledged
// while a master's writes were lost. Then it must be missing where the promoted node
// remembers the run's attempts, and the done that counts must have the larger fence.
// And it finds ends that were recorded of an attempt whose successor was at work
// already (G5).
func checkCrewRun(id lock.JobID, ts []crewNote, records map[lock.JobID]lock.JobInfo, ls losses, v *crewVerdict) {
	slices.SortFunc(ts, func(a, b crewNote) int { return cmp.Compare(a.Fence, b.Fence) })
	var dones []crewNote
	for i, t := range ts {
		if t.End == "done" {
			dones = append(dones, t)
		}
		stale := slices.ContainsFunc(ts[i+1:], func(next crewNote) bool { return next.Told < t.Until && !ls.has(next.Asked, next.Told) })
		if stale && (t.End == "done" || t.End == "failed") {
			v.violate("jobs G5", t.At, "%q %q: %s was recorded with fence %d, after a larger one was granted", id.Key, id.Run, t.End, t.Fence)
		}
	}
	r := records[id]
	last := ts[len(ts)-1]
	if r.State != lock.JobDone {
		v.violate("jobs G4", last.At, "%q %q is %v in the end", id.Key, id.Run, r.State)
		return
	}
	v.runs++
	standing := map[int64]bool{} // fence → it is done, as Redis remembers
	for _, a := range r.Attempts {
		standing[a.Fence] = a.End == lock.JobDone.String()
	}
	if !standing[r.Fence] {
		v.violate("jobs G4", last.At, "%q %q: done, and its last attempt, with fence %d, is not", id.Key, id.Run, r.Fence)
	}
	v.doubled += max(0, len(dones)-1)
	for _, t := range dones {
		switch {
		case t.Fence == r.Fence:
		case t.Fence > r.Fence:
			v.violate("jobs G3", t.At, "%q %q: done with fence %d, and later with fence %d", id.Key, id.Run, t.Fence, r.Fence)
		case standing[t.Fence]:
			v.violate("jobs G4", t.At, "%q %q: done with fence %d, and again with fence %d", id.Key, id.Run, t.Fence, r.Fence)
		case !ls.has(t.Until, t.At):
			v.violate("jobs G4", t.At, "%q %q: done with fence %d was acknowledged, and is not known to Redis, which has fence %d", id.Key, id.Run, t.Fence, r.Fence)
		default:
			v.matched++
		}
	}
}
