package torture

import (
	"cmp"
	"slices"
	"time"
)

const (
	offer = time.Second            // P: how long an offer stands
	rank  = 100 * time.Millisecond // by how much later each waiter asks
)

// promptness is how long a process may take to end the work's context, when it
// runs: it notes when it does not.
const promptness = slack / 2

// checkReturns finds calls that outlived their contexts (G10).
func checkReturns(lives []*life, v *verdict) {
	for _, l := range lives {
		for _, o := range l.operations {
			if o.returned == 0 {
				continue
			}
			if o.returned >= o.Deadline { // its context ended it
				v.checked("G10", 1)
			}
			if limit := l.stopped(o.Deadline) + v.late().Microseconds(); o.returned > limit {
				v.violate("timers G10", o.At, "process %d: %s of %q returned %v after its deadline: %s",
					l.process, o.Op, o.Key, micros(o.returned-o.Deadline), o.answer.Error)
			}
		}
	}
}

// checkLoss finds work whose context did not end with its lease (G2). Redis counts
// from when it executed the last renewal, which is later than when that was sent.
func checkLoss(lives []*life, all map[string][]tenure, v *verdict) {
	for _, l := range lives {
		for _, o := range l.operations {
			if o.Op != "settle" && o.Op != "release" || o.Loose {
				continue
			}
			t := tenureOf(all[o.Key], o.Fence)
			if t == nil || t.broken || t.settled {
				continue
			}
			v.checked("G2", 1)
			limit := l.stopped(t.to) + (promptness + v.stall).Microseconds()
			at, wasLost := l.lost[o.Fence]
			if !wasLost {
				at = o.At // it was at work until then
			}
			if at > limit {
				v.violate("timers G2", at, "process %d: work on %q with fence %d went on for %v after its lease", l.process, o.Key, o.Fence, micros(at-t.to))
			}
		}
	}
}

// checkUses finds work on one resource that went on at the same time in two places,
// each with a lease that its process had no reason to think lost (G1): also where
// nobody sees what Redis executes. Work of which its process was stopped for a moment
// is left out.
func checkUses(lives []*life, v *verdict) {
	type use struct {
		span
		process int
		fence   int64
	}
	byKey := map[string][]use{}
	for _, l := range lives {
		ends := map[int64]int64{} // fence → when its holder began to end it
		for fence, at := range l.lost {
			ends[fence] = at
		}
		for _, o := range l.operations {
			if o.Op != "settle" && o.Op != "release" || o.Loose {
				continue
			}
			if at, known := ends[o.Fence]; !known || o.At < at {
				ends[o.Fence] = o.At
			}
		}
		for _, o := range l.operations {
			end, ended := ends[o.answer.Fence]
			if s := (span{o.returned, end}); o.waits() && o.answer.Result == granted && ended && l.stopped(s.from) == s.from && !l.gapIn(s) {
				byKey[o.Key] = append(byKey[o.Key], use{s, l.process, o.answer.Fence})
			}
		}
	}
	for key, uses := range byKey {
		slices.SortFunc(uses, func(a, b use) int { return cmp.Compare(a.from, b.from) })
		for i := 1; i < len(uses); i++ {
			a, b := uses[i-1], uses[i]
			v.checked("G1", 1)
			if b.from+(promptness+v.stall).Microseconds() < a.to {
				v.violate("uses G1", b.from, "%q: process %d worked with fence %d, and process %d for %v more with fence %d", key, b.process, b.fence, a.process, micros(a.to-b.from), a.fence)
			}
		}
	}
}

// gapIn tells whether the process did not run for a moment of that time.
func (l *life) gapIn(s span) bool {
	return slices.ContainsFunc(l.gaps, func(g span) bool { return g.from < s.to && s.from < g.to })
}

func tenureOf(ts []tenure, fence int64) *tenure {
	for i := range ts {
		if ts[i].fence == fence {
			return &ts[i]
		}
	}
	return nil
}

// checkIdle finds locks that stood free for longer than is promised while
// somebody waited for them (G6, G7). disturbed are the times in which Redis, or
// the way to it, was not well.
func checkIdle(lives []*life, processes int, all map[string][]tenure, f fault, disturbed []span, end int64, v *verdict) {
	for key, ts := range all {
		slices.SortFunc(ts, func(a, b tenure) int { return cmp.Compare(a.from, b.from) })
		for i, t := range ts {
			next := end
			if i+1 < len(ts) {
				next = ts[i+1].from
			}
			checkFree(lives, processes, key, span{t.to, next}, end, f, disturbed, v)
		}
	}
}

func checkFree(lives []*life, processes int, key string, free span, end int64, f fault, disturbed []span, v *verdict) {
	bound := offer + time.Duration(processes)*rank + rank + v.late()
	for _, l := range lives { // the dead ahead, at the most
		if l.waitedInVain(key, span{free.from - 15*time.Second.Microseconds(), free.to}) {
			bound += offer
		}
	}
	late := span{free.from, free.from + bound.Microseconds()}
	if late.to > end {
		return
	}
	for _, d := range disturbed {
		if d.from < late.to && late.from < d.to {
			return
		}
	}
	for _, l := range lives {
		if l.idle(late) {
			continue
		}
		for _, o := range l.operations {
			waits := o.waits() && o.Key == key && o.At <= late.from
			switch {
			case waits && late.to < free.to && o.returned >= late.to:
				v.violate("timers G6 G7", late.to, "%q stood free for %v while process %d waited for it; the bound is %v", key, micros(free.to-free.from), l.process, bound)
				return
			case waits && o.returned >= late.from && o.Deadline >= late.to: // it would have waited for so long
				v.checked("G6", 1)
				if f.mute {
					v.checked("G7", 1)
				}
				return
			}
		}
	}
}

// waits tells whether the operation waits while another has what it wants.
func (o *operation) waits() bool { return o.Op == "acquire" && !o.Loose || o.Op == "hold" }

// waitedInVain tells whether the process, while it waited for a key in that time,
// was stopped, or died: what is offered to it is offered for a while to nobody.
func (l *life) waitedInVain(key string, s span) bool {
	for _, o := range l.operations {
		if !o.waits() || o.Key != key {
			continue
		}
		until := o.returned + (2 * time.Second).Microseconds() // leaving takes time, too
		if o.returned == 0 || until > s.to {
			until = s.to
		}
		if from := max(o.At, s.from); from < until && l.idle(span{from, until}) {
			return true
		}
	}
	return false
}

// checkProgress finds that nobody got anything once the faults were over.
func checkProgress(lives []*life, healed, ending int64, v *verdict) {
	for _, l := range lives {
		for _, o := range l.operations {
			if o.answer.Result == granted && healed < o.returned && o.returned <= ending {
				return
			}
		}
	}
	v.violate("timers", ending, "nothing was granted in the %v after the faults were over", micros(ending-healed))
}

// idle tells whether a process was dead or stopped for a moment of that time.
func (l *life) idle(s span) bool {
	if l.died != 0 && l.died < s.to && s.from < l.died {
		return true
	}
	for _, g := range l.gaps {
		if g.to-g.from > slack.Microseconds() && g.from < s.to && s.from < g.to {
			return true
		}
	}
	return false
}

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
