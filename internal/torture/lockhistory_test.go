package torture

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

// A lockState is one plain lock in the model. It has no time, so what is held may
// have expired; whether it had is for the intervals to tell.
type lockState struct {
	fence int64 // of the last grant
	free  bool  // it is over, and known to be
}

// lockModel is a plain lock, as G3 and G5 want it: what is over never comes back, and
// nobody is told of a fence that is not the last.
func lockModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return lockState{free: true} },
		Step: func(state, in, _ any) (bool, any) {
			s := state.(lockState)
			ok := s.step(in.(*operation))
			return ok, s
		},
		DescribeOperation: func(in, _ any) string {
			o := in.(*operation)
			return fmt.Sprintf("%s %d → %s %d", o.Op, o.Fence, o.answer.Result, o.answer.Fence)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// step changes the state by an operation, and tells whether that was possible.
func (s *lockState) step(o *operation) bool {
	a := o.answer
	switch {
	case a.Result == granted:
		if a.Fence <= s.fence {
			return false
		}
		s.fence, s.free = a.Fence, false
		return true
	case a.Result == held, a.Result == told && a.Fence != 0:
		return !s.free && s.fence == a.Fence
	case a.Result == told:
		s.free = true
	case a.Result == kept:
		return !s.free && s.fence == o.Fence
	case a.Result == released: // sent again, it has reached its goal when its grant is gone
		s.free = s.free || s.fence == o.Fence
		return o.Fence <= s.fence
	case a.Result == lost:
		s.free = s.free || s.fence == o.Fence
	}
	return true
}

// checkLocks finds histories of plain locks that no order makes sense of.
func checkLocks(lives []*life, definite bool, v *verdict) {
	byKey := map[string][]*operation{}
	for _, l := range lives {
		for _, o := range l.operations {
			switch o.Op {
			case "lock", "hold", "extend", "unlock", "release", "owner":
				byKey[o.Key] = append(byKey[o.Key], o)
			}
		}
	}
	for key, ops := range byKey {
		checkLock(key, ops, definite, v)
	}
}

func checkLock(key string, ops []*operation, definite bool, v *verdict) {
	slices.SortFunc(ops, func(a, b *operation) int { return cmp.Compare(a.At, b.At) })
	var history []porcupine.Operation
	note := func(o *operation) {
		history = append(history, porcupine.Operation{ClientId: o.process, Input: o, Call: o.At, Return: o.returned})
	}
	grants := map[int64]*operation{}
	for _, o := range ops {
		if o.answer.Result == granted {
			grants[o.answer.Fence] = o
		}
	}
	for _, o := range ops {
		if o.answer.Result == unknown || o.answer.Result == denied || o.answer.Result == refused || o.returned == 0 {
			continue // they tell nothing; what they may have done, an expiry may as well, but for ghosts
		}
		note(o)
		if f := o.answer.Fence; f != 0 && grants[f] == nil {
			grants[f] = ghostLock(ops, o, definite)
			if grants[f] == nil {
				v.violate("history", o.At, "%q: %q is told to hold it with fence %d, for which nobody is known to have asked", key, o.answer.Owner, f)
				return
			}
			note(grants[f])
		}
	}
	m := lockModel()
	switch result, info := porcupine.CheckOperationsVerbose(m, history, patience); result {
	case porcupine.Illegal:
		v.violate("history", ops[0].At, "%q: no order makes sense of its %d operations", key, len(history))
		v.drawings = append(v.drawings, drawing{key, m, info})
	case porcupine.Unknown:
		v.violate("history", ops[0].At, "%q: its %d operations could not be checked in time", key, len(history))
	}
	v.checked("G3", max(0, len(grants)-1))
}

// ghostLock is the grant that an operation tells of and nobody was told of: it must be
// that of a call of the owner's, at the time that stands in its fence. That call may
// have been told otherwise, if its first send was not answered before the lease was
// over; but not by Redis that it was refused, where definite: no reply is lost.
func ghostLock(ops []*operation, teller *operation, definite bool) *operation {
	at := teller.answer.Fence / 1000
	for _, o := range ops {
		if o.Op != "lock" && o.Op != "hold" || ownerName(o.process) != teller.answer.Owner || definite && o.answer.Result == denied {
			continue
		}
		if o.At-clockStep <= at && (o.returned == 0 || at <= o.returned+(sending+slack).Microseconds()) {
			g := *o
			g.returned, g.answer = teller.returned, step{Result: granted, Fence: teller.answer.Fence}
			return &g
		}
	}
	return nil
}

// sending is for how long a claim may be executed after its caller has left.
const sending = time.Second

// ownerName is how the Locker of a process is called.
func ownerName(process int) string { return "process-" + strconv.Itoa(process) }
