package model

// begin starts to wait: with a nonce that is new.
func (w *world) begin(i int) {
	cl := &w.s.clients[i]
	cl.phase, cl.nonce, cl.fence, cl.how, cl.reply = claiming, fresh, 0, open, 0
	cl.flags &= live | gaveUp
	if cl.is(live) || !w.on(Subscribed) {
		cl.set(queues | inQueue)
	}
}

// again is begin after an attempt of its own; but a caller who has gone does not
// come back.
func (w *world) again(i int) {
	cl := &w.s.clients[i]
	if cl.is(cancelled) {
		cl.phase = over
		return
	}
	w.begin(i)
}

// ask sends the claim again, as one that waits.
func (w *world) ask(i int) {
	cl := &w.s.clients[i]
	cl.phase = claiming
	cl.drop(kicked | early)
	cl.set(queues | inQueue)
}

// deliver brings a message. It means: claim again.
func (w *world) deliver(i int) {
	cl := &w.s.clients[i]
	switch cl.phase {
	case parked:
		w.ask(i)
	case claiming, answered:
		if w.on(Remembers) {
			cl.set(kicked)
		}
	}
}

// execute is what Redis does with the request under way.
func (w *world) execute(i int) {
	cl := &w.s.clients[i]
	switch cl.phase {
	case claiming:
		own := w.s.lock.kind == held && int(w.s.lock.who) == i+1 && w.s.lock.nonce == cl.nonce
		cl.reply, cl.fence = w.claim(i, cl.nonce, cl.is(queues))
		if own && cl.reply != toldGranted {
			w.breaks(ownRefused)
		}
		cl.phase = answered
		w.noteTold(i, cl.reply)
	case settling:
		cl.reply = w.settle(i, cl.fence, cl.how)
		cl.phase = settled
		w.noteTold(i, cl.reply)
	case leaving:
		w.leave(i, cl.is(inQueue), cl.nonce, 0)
		cl.phase = left
	}
}

// lose takes the request or the reply away: it is sent again. A request may be
// executed later all the same.
func (w *world) lose(i int) {
	cl := &w.s.clients[i]
	switch cl.phase {
	case claiming, settling, leaving:
		cl.haunt(cl.request())
		if cl.phase == claiming {
			cl.set(ghostly)
		}
	case answered:
		cl.phase, cl.fence, cl.reply = claiming, 0, 0
		cl.drop(tooLate)
		cl.set(ghostly)
	case settled:
		cl.phase, cl.reply = settling, 0
	case left:
		cl.phase = leaving
	}
}

func (cl *client) request() ghost {
	arg := func(f flag) uint8 {
		if cl.is(f) {
			return 1
		}
		return 0
	}
	switch cl.phase {
	case claiming:
		return ghost{phase: claiming, nonce: cl.nonce, arg: arg(queues)}
	case settling:
		return ghost{phase: settling, fence: cl.fence, arg: cl.how}
	case leaving:
		return ghost{phase: leaving, nonce: cl.nonce, arg: arg(inQueue)}
	}
	return ghost{}
}

func (cl *client) haunt(g ghost) {
	if g.phase == 0 {
		return
	}
	for k := range cl.ghosts {
		if cl.ghosts[k].phase == 0 {
			cl.ghosts[k] = g
			return
		}
	}
	panic("model: a waiter has more late requests than there is room for")
}

func (w *world) crash(i int) {
	cl := &w.s.clients[i]
	if cl.room() {
		cl.haunt(cl.request())
	}
	*cl = client{phase: dead, ghosts: cl.ghosts}
}

// reply is what a client makes of an answer.
func (w *world) reply(i int) {
	cl := &w.s.clients[i]
	told := cl.reply
	cl.reply = 0
	switch cl.phase {
	case answered:
		w.claimed(i, told)
	case left:
		cl.phase = over
	case settled:
		switch {
		case w.cfg.Plain, cl.how == byDone && told != toldLost, cl.how == byPermanent && told != toldLost, cl.how == byReturn:
			cl.phase = over
		default:
			w.again(i)
		}
	}
}

func (w *world) claimed(i int, told uint8) {
	cl := &w.s.clients[i]
	switch told {
	case toldGranted:
		if cl.is(cancelled) { // it reaches nobody
			w.stray(i, 0)
			cl.phase = over
			return
		}
		if cl.is(ghostly) {
			w.stray(i, cl.fence)
		}
		cl.phase = working
		cl.flags &= live | tooLate | gaveUp
	case toldDone, toldExhausted:
		if cl.is(ghostly) {
			w.stray(i, 0)
		}
		cl.phase = over
	case toldUsed:
		if cl.is(ghostly) {
			w.stray(i, 0)
		}
		cl.nonce = fresh
		cl.drop(ghostly)
		if cl.is(cancelled) {
			w.depart(i)
			return
		}
		cl.phase = claiming
	default:
		w.refused(i, told)
	}
}

// refused waits for a message or the timer; the first time only after it has
// subscribed and queued.
func (w *world) refused(i int, told uint8) {
	cl := &w.s.clients[i]
	cl.phase = parked
	if told == toldEarly {
		cl.set(early)
	}
	switch {
	case cl.is(cancelled):
		w.depart(i)
	case !cl.is(queues):
		cl.set(live)
		w.ask(i)
	case cl.is(kicked):
		w.ask(i)
	}
}

// depart leaves the queue, if there is something to leave.
func (w *world) depart(i int) {
	cl := &w.s.clients[i]
	cl.phase = over
	if cl.is(inQueue) || cl.is(ghostly) {
		cl.phase = leaving
	}
}

// stray has what was granted with the current nonce given back, but for real.
func (w *world) stray(i int, real uint8) {
	cl := &w.s.clients[i]
	for k := range cl.strays {
		if !cl.strays[k].set {
			cl.strays[k] = stray{nonce: cl.nonce, real: real, set: true}
			return
		}
	}
	panic("model: a waiter has more to give back than there is room for")
}

// answeredAll tells whether nobody waits or works, and nothing is under way.
func (s *state) answeredAll() bool {
	for i := range s.clients {
		cl := &s.clients[i]
		if cl.phase != idle && cl.phase != over && cl.phase != dead {
			return false
		}
	}
	return true
}

// check looks for what must never be in any state.
func (w *world) check() {
	holders := 0
	for i := range w.s.clients {
		cl := &w.s.clients[i]
		if cl.phase == working && !cl.is(tooLate) {
			holders++
			if w.s.lock.kind != held || w.s.lock.fence != cl.fence {
				w.breaks(withoutLock)
			}
		}
		w.checkLeft(i)
	}
	if holders > 1 {
		w.s.broken = twoHolders
	}
}

// checkLeft looks for what a waiter has left behind for good.
func (w *world) checkLeft(i int) {
	cl := &w.s.clients[i]
	quiet := cl.ghosts[0].phase == 0 && !cl.strays[0].set && !cl.strays[1].set
	if cl.phase == over && quiet && w.position(i) >= 0 && !(w.cfg.Plain && w.cfg.Foul) {
		w.breaks(leftBehind)
	}
	l := w.s.lock
	if l.kind == held && int(l.who) == i+1 && cl.alive() && quiet && !cl.is(gaveUp) && !w.s.minded() {
		w.breaks(leftBehind)
	}
}
