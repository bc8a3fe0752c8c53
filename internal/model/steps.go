package model

import "math"

// A step is one thing that happens.
type step struct {
	op  op
	who uint8 // which waiter, or run
	arg uint8 // which ghost or stray, or how
}

type op uint8

const (
	opBegin op = iota
	opReturn
	opCancel
	opExecute
	opLose
	opReply
	opDeliver
	opDouble
	opDrop
	opTimer
	opNotice
	opSettle
	opGiveUp
	opCrash
	opGhost
	opExpire
	opStray
	opLapse
	opOfferLapses
	opSweep
	opDelayOver
	opConfirm
)

// never is the urgency of what need not happen.
const never = math.MaxInt

// Urgency of what is bound to happen in the end, if nothing goes wrong: the least
// is the next step of the schedule by which it is shown that nobody is stuck.
const (
	urgentReply = iota
	urgentRequest
	urgentGhost
	urgentMessage
	urgentWork
	urgentTime
	urgentTimer // by turn, from here on
)

// steps calls yield for each step that is possible in s, with its urgency.
func (c *Config) steps(s *state, yield func(step, int)) {
	for i := range s.clients {
		c.clientSteps(s, i, yield)
		c.backgroundSteps(s, i, yield)
	}
	c.lockSteps(s, yield)
	for r := range s.runs {
		if s.runs[r].early {
			yield(step{op: opDelayOver, who: uint8(r)}, urgentTime)
		}
	}
}

func (c *Config) clientSteps(s *state, i int, yield func(step, int)) {
	cl, b := &s.clients[i], &s.budget
	do := func(o op, arg uint8, urgency int) { yield(step{o, uint8(i), arg}, urgency) }
	if b[cancels] > 0 && !cl.is(cancelled) && cl.phase >= claiming && cl.phase <= working {
		do(opCancel, 0, never)
	}
	if b[crashes] > 0 && cl.phase >= claiming && cl.phase <= left {
		do(opCrash, 0, never)
	}
	if cl.phase > idle && cl.phase < over && !cl.is(live) && !c.on(Subscribed) {
		do(opConfirm, 0, urgentMessage)
	}
	switch cl.phase {
	case idle:
		do(opBegin, 0, never)
	case over:
		if b[returns] > 0 {
			do(opReturn, 0, never)
		}
	case claiming, settling, leaving:
		if cl.phase != leaving || !c.awaited(s, i) {
			do(opExecute, 0, urgentRequest)
		}
		if b[losses] > 0 && cl.room() {
			do(opLose, 0, never)
		}
		if b[losses] > 0 && cl.phase == settling && cl.room() {
			do(opGiveUp, 0, never)
		}
	case answered, settled, left:
		do(opReply, 0, urgentReply)
		if b[losses] > 0 {
			do(opLose, 0, never)
		}
	case parked:
		if c.Foul && c.on(Timers) || cl.is(early) && !s.runs[c.Run[i]].early {
			do(opTimer, 0, urgentTimer+s.turn(i))
		}
	case working:
		if cl.is(tooLate) {
			do(opNotice, 0, urgentWork)
		}
		do(opSettle, byDone, urgentWork+1)
		if c.Plain {
			return
		}
		do(opSettle, byFailure, never)
		if b[delays] > 0 {
			do(opSettle, byDelayed, never)
		}
		if b[permanents] > 0 {
			do(opSettle, byPermanent, never)
		}
	}
}

// turn says whose timer is next: who is offered the lock, or has it without knowing,
// then the oldest.
func (s *state) turn(i int) int {
	if int(s.lock.who) == i+1 {
		return 0
	}
	for at, q := range s.queue {
		if int(q) == i+1 {
			return 1 + at
		}
	}
	return 1 + Waiters + i
}

func (cl *client) room() bool { return cl.ghosts[len(cl.ghosts)-1].phase == 0 }

// awaited tells whether a claim of this waiter's try may still be executed.
func (c *Config) awaited(s *state, i int) bool {
	return c.on(LeaveWaits) && c.on(NotAfter) && s.clients[i].haunted(s.clients[i].nonce)
}

func (cl *client) haunted(nonce uint8) bool {
	for _, g := range cl.ghosts {
		if g.phase == claiming && g.nonce == nonce {
			return true
		}
	}
	return false
}

// backgroundSteps are messages, late requests and what is given back.
func (c *Config) backgroundSteps(s *state, i int, yield func(step, int)) {
	cl, b := &s.clients[i], &s.budget
	do := func(o op, arg uint8, urgency int) { yield(step{o, uint8(i), arg}, urgency) }
	if cl.wakes > 0 {
		do(opDeliver, 0, urgentMessage)
		if b[doubles] > 0 {
			do(opDouble, 0, never)
		}
		if b[drops] > 0 {
			do(opDrop, 0, never)
		}
	}
	for k, g := range cl.ghosts {
		if g.phase == 0 || k > 0 && g == cl.ghosts[k-1] {
			continue
		}
		do(opGhost, uint8(k), never)
		do(opExpire, uint8(k), urgentGhost)
	}
	for k, x := range cl.strays {
		if x.set && (!x.guarded || !c.on(NotAfter) || !cl.haunted(x.nonce)) {
			do(opStray, uint8(k), urgentGhost)
		}
	}
}

// lockSteps are the ends of leases and offers.
func (c *Config) lockSteps(s *state, yield func(step, int)) {
	o := opLapse
	switch s.lock.kind {
	case held:
	case offer:
		o = opOfferLapses
	case lapsed, stale:
		if c.Foul {
			yield(step{op: opSweep}, never)
		}
		return
	default:
		return
	}
	if !s.minded() {
		yield(step{op: o, who: s.lock.who - 1}, urgentTime)
	} else if s.budget[pauses] > 0 {
		yield(step{op: o, who: s.lock.who - 1}, never)
	}
}

// minded tells whether somebody takes care of the lock or the offer: renews the
// one, will claim the other. Without a pause it does not lapse then.
func (s *state) minded() bool {
	cl := &s.clients[s.lock.who-1]
	if s.lock.kind == offer {
		return cl.phase == claiming || cl.phase == answered || cl.phase == parked || cl.phase == leaving
	}
	for _, x := range cl.strays {
		if x.set && x.nonce == s.lock.nonce {
			return true
		}
	}
	switch cl.phase {
	case claiming, answered, parked, leaving:
		return cl.nonce == s.lock.nonce
	case working, settling, settled:
		return cl.fence == s.lock.fence
	}
	return false
}

// take changes the world by one step.
func (w *world) take(x step) {
	if w.trace {
		w.notes = w.notes[:0]
	}
	i := int(x.who)
	switch x.op {
	case opLapse, opOfferLapses, opSweep, opDelayOver:
		w.serverStep(x)
	case opDeliver, opDouble, opDrop, opGhost, opExpire, opStray:
		w.backgroundStep(x)
	default:
		w.clientStep(i, x)
	}
	w.s.normalize()
	w.check()
}

func (w *world) clientStep(i int, x step) {
	cl, b := &w.s.clients[i], &w.s.budget
	switch x.op {
	case opBegin:
		w.begin(i)
	case opReturn:
		b[returns]--
		w.begin(i)
	case opConfirm:
		cl.set(live)
	case opCancel:
		b[cancels]--
		cl.set(cancelled)
		switch cl.phase {
		case parked:
			w.depart(i)
		case working:
			cl.phase, cl.how = settling, byReturn
		}
	case opCrash:
		b[crashes]--
		w.crash(i)
	case opExecute:
		w.execute(i)
	case opLose:
		b[losses]--
		w.lose(i)
	case opGiveUp:
		b[losses]--
		cl.haunt(ghost{phase: settling, fence: cl.fence, arg: cl.how})
		w.again(i)
		cl.set(gaveUp)
	case opReply:
		w.reply(i)
	case opTimer:
		w.ask(i)
	case opNotice:
		w.again(i)
	case opSettle:
		if x.arg == byDelayed {
			b[delays]--
		}
		if x.arg == byPermanent {
			b[permanents]--
		}
		cl.phase, cl.how = settling, x.arg
	}
}

func (w *world) serverStep(x step) {
	switch x.op {
	case opLapse:
		if w.s.minded() {
			w.s.budget[pauses]--
		}
		w.s.lock.kind = lapsed
		if cl := &w.s.clients[x.who]; cl.fence == w.s.lock.fence && w.on(LocalDeadline) {
			cl.set(tooLate)
		}
	case opOfferLapses:
		if w.s.minded() {
			w.s.budget[pauses]--
		}
		w.s.lock.kind = stale
	case opSweep:
		w.release(-1)
	case opDelayOver:
		w.s.runs[x.who].early = false
	}
}

func (w *world) backgroundStep(x step) {
	i, k := int(x.who), int(x.arg)
	cl, b := &w.s.clients[i], &w.s.budget
	switch x.op {
	case opDeliver:
		cl.wakes--
		w.deliver(i)
	case opDouble:
		b[doubles]--
		w.deliver(i)
	case opDrop:
		b[drops]--
		cl.wakes--
	case opGhost, opExpire:
		g := cl.ghosts[k]
		cl.ghosts[k] = ghost{}
		if x.op == opExpire {
			return
		}
		switch g.phase {
		case claiming:
			told, _ := w.claim(i, g.nonce, g.arg == 1)
			w.noteTold(i, told)
		case settling:
			w.noteTold(i, w.settle(i, g.fence, g.arg))
		case leaving:
			w.leave(i, g.arg == 1, g.nonce, 0)
		}
	case opStray:
		s := cl.strays[k]
		w.leave(i, false, s.nonce, s.real)
		cl.strays[k].guarded = true
		if s.guarded || !cl.haunted(s.nonce) || !w.on(GivesBackAgain) {
			cl.strays[k] = stray{}
		}
	}
}
