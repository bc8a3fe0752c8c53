package torture

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockingworker/lockingworker/lock"
)

// A jobState is one run of a job in the model: absent, held, done, failed or
// exhausted. It has no time, so whatever is held may have expired.
type jobState struct {
	phase    string // as a JobState is called; "failed" also when an attempt was given back
	attempts int
	fence    int64  // of the last grant
	ended    string // fence=end; of each that was settled
}

// An input is what an operation asks for. What it was told is in the same place:
// a step of the model needs both.
type input struct {
	*operation
	most int // attempts that a run may have
}

// ghost is the operation of a grant that Redis remembers and that no process was
// told of: its process was killed, or had left, before the answer came.
const ghost = "ghost"

// model is a run of a job, as G3, G4, G5, G8 and G9 want it.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return jobState{phase: "absent"} },
		Step: func(state, in, _ any) (bool, any) {
			s, i := state.(jobState), in.(input)
			ok := s.step(i)
			return ok, s
		},
		DescribeOperation: func(in, _ any) string { return in.(input).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// step changes the state by an operation, and tells whether that was possible.
func (s *jobState) step(i input) bool {
	a := i.answer
	switch {
	case i.Op == ghost || i.Op == "acquire" && a.Result == granted:
		if s.over() || a.Number != s.attempts+1 || a.Number > i.most || a.Fence <= s.fence {
			return false
		}
		s.phase, s.attempts, s.fence = "running", a.Number, a.Fence
		return true
	case i.Op == "acquire" && a.Result == done:
		return s.phase == "done"
	case i.Op == "acquire" && a.Result == exhausted:
		if s.phase == "running" && s.attempts >= i.most { // its lease ran out
			s.phase = "exhausted"
		}
		return s.phase == "exhausted" && a.Number == s.attempts
	case i.Op == "settle" && a.Result == lost:
		return !strings.Contains(s.ended, mark(i.Fence, i.End))
	case i.Op == "settle":
		holds := s.phase == "running" && s.fence == i.Fence
		if holds {
			s.settle(i)
		}
		return holds || a.Result == unknown || strings.Contains(s.ended, mark(i.Fence, i.End))
	case i.Op == "state":
		return a.Number == s.attempts && (a.State == s.phase || a.State == "failed" && s.phase == "running")
	}
	return true
}

func (s *jobState) over() bool { return s.phase == "done" || s.phase == "exhausted" }

func (s *jobState) settle(i input) {
	s.ended += mark(i.Fence, i.End)
	switch {
	case i.End == "returned":
		s.attempts--
		s.phase = "failed"
		if s.attempts == 0 {
			s.phase = "absent"
		}
	case i.End == "failed" && s.attempts >= i.most:
		s.phase = "exhausted"
	default:
		s.phase = i.End
	}
}

func mark(fence int64, end string) string { return fmt.Sprintf("%d=%s;", fence, end) }

func (i input) String() string {
	a := i.answer
	switch i.Op {
	case "settle":
		return fmt.Sprintf("%s of %d → %s", i.End, i.Fence, a.Result)
	case "state":
		return fmt.Sprintf("state → %s, %d attempts", a.State, a.Number)
	default:
		return fmt.Sprintf("%s → %s %d, fence %d", i.Op, a.Result, a.Number, a.Fence)
	}
}

// final is what Redis remembers of a run in the end.
type final struct {
	read int64 // when it was read
	job  lock.JobInfo
}

// checkHistory checks the operations on each run for linearizability. The records
// tell which grants no process was told of.
func checkHistory(lives []*life, records []final, most int, v *verdict) {
	runs := map[lock.JobID][]*operation{}
	known := map[int64]bool{}
	for _, l := range lives {
		for _, o := range l.operations {
			if o.Op == "acquire" && o.answer.Result == granted {
				known[o.answer.Fence] = true
			}
			if o.Op != "acquire" && o.Op != "settle" && o.Op != "state" {
				continue // see checkLocks
			}
			if o.answer.Result == refused || o.answer.Result == denied || o.Op == "state" && o.answer.Result == unknown || o.Op == "acquire" && o.answer.Result == unknown {
				continue // they tell nothing and, but for ghosts, do nothing
			}
			id := lock.JobID{Key: o.Key, Run: o.Run}
			runs[id] = append(runs[id], o)
		}
	}
	for _, r := range records {
		for _, a := range r.job.Attempts {
			if !known[a.Fence] {
				runs[r.job.ID] = append(runs[r.job.ID], ghostOf(r.job.ID, a)...)
			}
		}
		runs[r.job.ID] = append(runs[r.job.ID], &operation{
			step: step{At: r.read, Op: "state"}, returned: r.read,
			answer: step{Result: told, State: r.job.State.String(), Number: r.job.Attempt},
		})
	}
	countOutcomes(runs, v)
	for id, ops := range runs {
		checkRun(id, withoutRepeats(ops), most, v)
	}
}

// countOutcomes counts what the model could have found broken: runs of which more
// was heard after they were done (G4), and outcomes that were unknown at first and
// told in the end (G9).
func countOutcomes(runs map[lock.JobID][]*operation, v *verdict) {
	for _, ops := range runs {
		wasDone, after := int64(math.MaxInt64), int64(0)
		unsure, sure := map[int64]bool{}, map[int64]bool{}
		for _, o := range ops {
			after = max(after, o.At)
			switch {
			case o.Op == "settle" && o.answer.Result == unknown:
				unsure[o.Fence] = true
			case o.Op == "settle":
				sure[o.Fence] = true
			}
			if o.Op == "settle" && o.End == "done" && o.answer.Result == settled {
				wasDone = min(wasDone, o.returned)
			}
		}
		if after > wasDone {
			v.checked("G4", 1)
		}
		for fence := range unsure {
			if sure[fence] {
				v.checked("G9", 1)
			}
		}
	}
}

func ghostOf(id lock.JobID, a lock.AttemptInfo) []*operation {
	at := a.Granted.UnixMicro()
	ops := []*operation{{
		step:     step{At: at, Op: ghost, Key: id.Key, Run: id.Run},
		answer:   step{Number: a.Number, Fence: a.Fence},
		returned: at + time.Millisecond.Microseconds(), // Redis tells the ms
	}}
	if a.End == "returned" {
		ops = append(ops, &operation{step: step{At: at, Op: "settle", Fence: a.Fence, End: a.End}, answer: step{Result: unknown}})
	}
	return ops
}

// withoutRepeats leaves out all but the first of the settlements of an attempt whose outcomes
// are unknown, where they were to end it in the same way: that one may be executed at
// any time afterwards, just as the others, and any number of them changes no more than one.
func withoutRepeats(ops []*operation) []*operation {
	slices.SortFunc(ops, func(a, b *operation) int { return cmp.Compare(a.At, b.At) })
	seen := map[string]bool{}
	return slices.DeleteFunc(ops, func(o *operation) bool {
		if o.Op != "settle" || o.answer.Result != unknown {
			return false
		}
		m := mark(o.Fence, o.End)
		was := seen[m]
		seen[m] = true
		return was
	})
}

func checkRun(id lock.JobID, ops []*operation, most int, v *verdict) {
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{ClientId: o.process, Input: input{o, most}, Call: o.At, Return: o.returned}
		if o.answer.Result == unknown || o.returned == 0 {
			history[i].Return = math.MaxInt64
		}
	}
	m := model()
	result, info := porcupine.CheckOperationsVerbose(m, history, 20*time.Second)
	name := fmt.Sprintf("%q %q", id.Key, id.Run)
	switch result {
	case porcupine.Illegal:
		v.violate("history", ops[0].At, "%s: no order makes sense of its %d operations", name, len(ops))
		v.drawings = append(v.drawings, drawing{name, m, info})
	case porcupine.Unknown:
		v.violate("history", ops[0].At, "%s: its %d operations could not be checked in time", name, len(ops))
	}
}

// checkFences finds grants out of the order of their fences: one that was asked
// for after another had been told must have the larger one (G3), whatever Redis
// lost in between. It also counts.
func checkFences(lives []*life, v *verdict) {
	byKey := map[string][]*operation{}
	ended := map[int64]bool{}
	for _, l := range lives {
		if l.died != 0 {
			v.killed++
		}
		for _, o := range l.operations {
			v.operations++
			switch o.answer.Result {
			case granted:
				byKey[o.Key] = append(byKey[o.Key], o)
			case settled, released:
				ended[o.Fence] = true
			case unknown:
				v.unknown++
			}
		}
	}
	for key, ops := range byKey {
		slices.SortFunc(ops, func(a, b *operation) int { return cmp.Compare(a.answer.Fence, b.answer.Fence) })
		var latest *operation // the one with the latest call of those with smaller fences
		for i, o := range ops {
			if i > 0 && ops[i-1].answer.Fence == o.answer.Fence {
				v.violate("fences G3", o.At, "%q: fence %d was granted twice", key, o.answer.Fence)
			}
			if i > 0 && ops[i-1].returned < o.At {
				v.checked("G3", 1)
			}
			if latest != nil && o.returned < latest.At {
				v.violate("fences G3", o.At, "%q: fence %d was granted before fence %d was asked for", key, o.answer.Fence, latest.answer.Fence)
			}
			if latest == nil || o.At > latest.At {
				latest = o
			}
			if i < len(ops)-1 && !ended[o.answer.Fence] {
				v.takeovers++
			}
		}
		v.grants += len(ops)
	}
}

// checkStale finds settlements with the fence of another grant that were accepted
// (G5): once a later grant of the key had been told, no earlier one may be settled,
// whatever Redis lost since, but for a failover that lost that later grant. losses
// are when such a thing may have happened. It also counts the runs that were done
// twice; where Redis keeps what it acknowledged, they are violations of the history.
func checkStale(lives []*life, losses []int64, v *verdict) {
	byKey := map[string][]*operation{}
	type attempt struct {
		id    lock.JobID
		fence int64
	}
	of := func(o *operation) attempt { return attempt{lock.JobID{Key: o.Key, Run: o.Run}, o.Fence} }
	unsure := map[attempt]int64{} // → the first call that may have settled it
	dones := map[lock.JobID]map[int64]bool{}
	for _, l := range lives {
		for _, o := range l.operations {
			switch {
			case o.answer.Result == granted:
				byKey[o.Key] = append(byKey[o.Key], o)
			case o.Op == "settle":
				if at, known := unsure[of(o)]; !known || o.At < at {
					unsure[of(o)] = o.At
				}
				if id := of(o).id; o.End == "done" && o.answer.Result == settled {
					if dones[id] == nil {
						dones[id] = map[int64]bool{}
					}
					dones[id][o.Fence] = true
				}
			}
		}
	}
	for _, l := range lives {
		for _, o := range l.operations {
			if o.Op != "settle" {
				continue
			}
			for _, g := range byKey[o.Key] {
				if g.answer.Fence <= o.Fence || g.returned >= unsure[of(o)] || lostSince(losses, g.returned) {
					continue
				}
				v.checked("G5", 1)
				if o.answer.Result == settled {
					v.violate("fences G5", o.At, "%q: fence %d was settled after fence %d had been granted", o.Key, o.Fence, g.answer.Fence)
				}
				break
			}
		}
	}
	for _, fences := range dones {
		v.doubled += len(fences) - 1
	}
}

// lostSince tells whether what was told at that time may have been lost since. A
// reply may be read some time after the server has died.
func lostSince(losses []int64, at int64) bool {
	return slices.ContainsFunc(losses, func(loss int64) bool { return at < loss+slack.Microseconds() })
}

// checkCounters compares each counter with the grants that Redis remembers, and
// those, where MONITOR has seen all, with the fences that it granted (G8).
func checkCounters(records []final, all map[string][]tenure, v *verdict) {
	remembered := map[int64]bool{}
	for _, r := range records {
		for _, a := range r.job.Attempts {
			remembered[a.Fence] = true
			if all != nil && tenureOf(all[r.job.ID.Key], a.Fence) == nil {
				v.violate("counters G8", r.read, "%q %q: fence %d is counted, and was not granted", r.job.ID.Key, r.job.ID.Run, a.Fence)
			}
		}
	}
	for key, ts := range all {
		for _, t := range ts {
			if isJob(key) && !remembered[t.fence] {
				v.violate("counters G8", t.from, "%q: fence %d was granted, and is not counted", key, t.fence)
			}
		}
	}
	for _, r := range records {
		v.checked("G8", 1)
		counted := 0
		for _, a := range r.job.Attempts {
			if a.End != "returned" {
				counted++
			}
		}
		if len(r.job.Attempts) < 100 && counted != r.job.Attempt {
			v.violate("counters G8", r.read, "%q %q: %d attempts are counted, of %d grants", r.job.ID.Key, r.job.ID.Run, r.job.Attempt, counted)
		}
	}
}
