package model

// A world is a state that is being changed by one step, with what happens noted.
type world struct {
	cfg   *Config
	s     state
	notes []note // only kept for traces
	trace bool
}

type property uint8

// What must never be.
const (
	fine property = iota
	twoHolders
	withoutLock
	beyondMaximum
	doneTwice
	afterDone
	passedOver
	inVain
	ownRefused
	exhaustedEarly
	leftBehind
	stuck
	endless
)

// on tells whether a rule holds.
func (w *world) on(r Rule) bool { return w.cfg.on(r) }

func (w *world) breaks(p property) {
	if w.s.broken == fine {
		w.s.broken = p
	}
}

func (w *world) runOf(i int) *run { return &w.s.runs[w.cfg.Run[i]] }

func (w *world) holds(r *run) bool {
	return w.s.lock.kind == held && r.newest.who != 0 && r.newest.how == open && r.newest.fence == w.s.lock.fence
}

func (w *world) knows(r *run, who, nonce uint8) bool {
	if r.newest.who == who && r.newest.nonce == nonce {
		return true
	}
	for _, g := range r.older {
		if g.who == who && g.nonce == nonce {
			return true
		}
	}
	return false
}

// claim is claim.lua, for one job. It returns what it tells, and the fence.
func (w *world) claim(i int, nonce uint8, queue bool) (told, fence uint8) {
	r, who := w.runOf(i), uint8(i+1)
	mine := func() bool { return w.s.lock.kind == offer && w.s.lock.who == who }
	offered := queue && mine()
	waits := queue && w.position(i) >= 0

	own := w.s.lock.kind == held && w.s.lock.who == who && w.s.lock.nonce == nonce
	if own && (w.holds(r) || w.cfg.Plain) && w.on(OwnNonce) {
		return toldGranted, w.s.lock.fence
	}
	if w.on(NonceUsedUp) && w.knows(r, who, nonce) {
		return toldUsed, 0
	}
	if told = w.verdict(i, r); told != toldNothing {
		w.answerLast(i, waits)
		if told == toldExhausted && r.state == exhausted && r.granted < w.cfg.Max[i] {
			w.breaks(exhaustedEarly)
		}
		gone := -1
		if waits && w.position(i) < 0 {
			gone = i
		}
		w.release(gone)
		return told, 0
	}

	switch w.s.lock.kind {
	case held, offer:
		if offered {
			break
		}
		if queue && r.state == exhausted {
			r.state = failed // its maximum is larger: may be offered the lock again
		}
		w.stay(i, queue)
		return toldHeld, 0
	case stale:
		w.retire()
		waits = queue && w.position(i) >= 0
	}
	if r.early {
		w.vacate(true) // before it stands in the queue: as the script reads it
		w.stay(i, queue)
		return toldEarly, 0
	}
	if r.attempts >= w.cfg.Max[i] && w.on(Bounded) {
		if r.newest.how == open && r.newest.who != 0 {
			r.newest.how = byLapse
		}
		if r.granted < w.cfg.Max[i] {
			w.breaks(exhaustedEarly)
		}
		r.state, r.max = exhausted, w.cfg.Max[i]
		w.wakeAll(w.cfg.Run[i])
		w.answerLast(i, waits)
		w.vacate(false)
		return toldExhausted, 0
	}
	if next, _ := w.next(); !offered && next >= 0 && w.on(NoPassing) && (!waits || w.position(next) < w.position(i)) {
		if queue && r.state == exhausted && w.on(Lifts) {
			r.state = failed
		}
		w.offer(next)
		w.stay(i, queue)
		return toldHeld, 0
	}
	if !offered {
		w.checkNext(i)
	}
	if waits {
		w.dequeue(i)
	}
	w.grant(i, r, nonce)
	return toldGranted, fresh
}

// verdict tells whether the run is over for i.
func (w *world) verdict(i int, r *run) uint8 {
	switch {
	case r.state == done && w.on(DoneIsFinal):
		return toldDone
	case r.state == permanent || r.state == exhausted && r.attempts >= w.cfg.Max[i]:
		return toldExhausted
	}
	return toldNothing
}

// answerLast takes i, who waits no longer, out of the queue.
func (w *world) answerLast(i int, waits bool) {
	if waits {
		w.wakeBehind(w.cfg.Run[i])
		if w.on(ToldLeaves) {
			w.dequeue(i)
		}
	}
}

func (w *world) stay(i int, queue bool) {
	if queue && w.position(i) < 0 && w.on(QueuesRefused) {
		w.enqueue(i)
	}
}

func (w *world) grant(i int, r *run, nonce uint8) {
	w.s.lock = entry{kind: held, who: uint8(i + 1), nonce: nonce, fence: fresh}
	if w.cfg.Plain {
		return
	}
	if r.newest.who != 0 {
		if r.newest.how == open {
			r.newest.how = byLapse
		}
		r.push(r.newest)
	}
	r.newest = grant{who: uint8(i + 1), nonce: nonce, fence: fresh}
	r.state, r.early, r.max = running, false, w.cfg.Max[i]
	if w.on(CountsGrants) {
		r.attempts++
	}
	r.granted++
	switch {
	case r.done > 0:
		w.breaks(afterDone)
	case r.granted > w.cfg.Max[i]:
		w.breaks(beyondMaximum)
	}
}

func (r *run) push(g grant) {
	for k := len(r.older) - 1; k >= 0; k-- {
		if k == len(r.older)-1 && r.older[k].who != 0 {
			panic("model: a run has more grants to remember than there is room for")
		}
		if k > 0 {
			r.older[k] = r.older[k-1]
		}
	}
	r.older[0] = g
}

func (r *run) end(fence uint8) (how uint8, known bool) {
	if r.newest.who != 0 && r.newest.fence == fence {
		return r.newest.how, true
	}
	for _, g := range r.older {
		if g.who != 0 && g.fence == fence {
			return g.how, true
		}
	}
	return 0, false
}

func (w *world) giveBack(r *run) {
	r.newest.how = byReturn
	r.granted--
	if w.on(CountsGrants) && w.on(ReturnsUncounted) {
		r.attempts--
	}
	r.state = failed
	if r.attempts == 0 {
		r.state = absent
	}
}

// unlock is unlock.lua: the release of a plain lock, whose grant may have gone.
func (w *world) unlock(fence uint8) uint8 {
	if l := w.s.lock; w.on(SettlesByFence) && (l.kind != held || l.fence != fence) {
		return toldAgain
	}
	w.vacate(false)
	return toldSettled
}

// settle is settle.lua.
func (w *world) settle(i int, fence, how uint8) uint8 {
	if w.cfg.Plain {
		return w.unlock(fence)
	}
	r, delayed := w.runOf(i), how == byDelayed
	if delayed {
		how = byFailure
	}
	if w.on(SettlesByFence) {
		if r.newest.who == 0 || r.newest.fence != fence || r.newest.how != open {
			if ended, known := r.end(fence); known && ended == how {
				return toldAgain
			}
			return toldLost // or gone, which comes to the same for who asks
		}
		if !w.holds(r) && w.on(SettlesInTime) {
			return toldLost
		}
	}
	if how == byReturn {
		w.giveBack(r)
	} else {
		w.record(r, how, delayed)
	}
	if isOver(r) {
		w.wakeAll(w.cfg.Run[i])
	}
	w.vacate(false)
	return toldSettled
}

func (w *world) record(r *run, how uint8, delayed bool) {
	if !w.on(CountsGrants) {
		r.attempts++
	}
	r.newest.how = how
	switch {
	case how == byDone:
		r.state = done
		if r.done++; r.done > 1 {
			w.breaks(doneTwice)
		}
	case how == byPermanent:
		r.state = permanent
	case r.attempts >= r.max:
		r.state = exhausted
	default:
		r.state, r.early = failed, delayed
	}
}

// leave is leave.lua: i (if it waits) leaves the queue, and what it was granted
// with that nonce (if it has one), and another fence than real, is given back.
func (w *world) leave(i int, waits bool, nonce, real uint8) {
	gone := -1
	r := w.runOf(i)
	if waits && w.position(i) >= 0 {
		if w.on(LeaverChain) && isOver(r) {
			w.wakeBehind(w.cfg.Run[i])
		}
		w.dequeue(i)
		gone = i
	}
	l := w.s.lock
	if l.kind == held && int(l.who) == i+1 && l.nonce == nonce && (l.fence != real || !w.on(SparesReal)) && w.on(LeaveGivesBack) {
		if w.holds(r) {
			w.giveBack(r)
		}
		w.note(noteGivenBack, i)
		w.vacate(false)
		return
	}
	if w.on(LeaveHandsOver) {
		w.release(gone)
	}
}
