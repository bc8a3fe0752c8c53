package model

// Who waits, and how the lock is handed over: handover.lua.

// position returns where a waiter stands in the queue, or -1.
func (w *world) position(i int) int {
	for at, q := range w.s.queue {
		if int(q) == i+1 {
			return at
		}
	}
	return -1
}

func (w *world) waited() bool { return w.s.queue[0] != 0 }

func (w *world) enqueue(i int) {
	for at, q := range w.s.queue {
		if q == 0 {
			w.s.queue[at] = uint8(i + 1)
			w.note(noteQueued, i)
			return
		}
	}
}

func (w *world) dequeue(i int) {
	at := w.position(i)
	if at < 0 {
		return
	}
	copy(w.s.queue[at:], w.s.queue[at+1:])
	w.s.queue[Waiters-1] = 0
	w.note(noteDequeued, i)
}

func (w *world) wake(i int) {
	c := &w.s.clients[i]
	switch {
	case c.phase == dead || c.phase == over && w.s.budget[returns] == 0:
	case !c.is(live):
		w.note(noteUnheard, i)
		return
	case c.wakes < 2: // a third would say the same
		c.wakes++
	}
	w.note(noteWoken, i)
}

// crowd is how many of a run are woken at once.
func (w *world) crowd() int {
	if w.cfg.Crowd == 0 {
		return Waiters
	}
	return int(w.cfg.Crowd)
}

// nth calls f for those of a run from the n-th on.
func (w *world) nth(run uint8, from, to int) {
	n := 0
	for _, q := range w.s.queue {
		if q == 0 || w.cfg.Run[q-1] != run {
			continue
		}
		if n >= from && n < to {
			w.wake(int(q - 1))
		}
		n++
	}
}

func (w *world) wakeAll(run uint8) {
	if w.on(DoneWakes) {
		w.nth(run, 0, w.crowd())
	}
}

// wakeBehind is called before the one who was told is taken out.
func (w *world) wakeBehind(run uint8) {
	if w.on(CrowdChain) {
		w.nth(run, w.crowd(), w.crowd()+1)
	}
}

func isOver(r *run) bool { return r.state == done || r.state == exhausted || r.state == permanent }

// nextFor returns the oldest waiter who may be granted the lock, and the oldest of
// those who are too early, or -1.
func (w *world) nextFor(oldestFirst, skipsOver, skipsEarly bool) (best, early int) {
	best, early = -1, -1
	seen := [Runs]bool{}
	for k := range w.s.queue {
		q := w.s.queue[k]
		if !oldestFirst {
			q = w.s.queue[Waiters-1-k]
		}
		if q == 0 || seen[w.cfg.Run[q-1]] {
			continue
		}
		i := int(q - 1)
		seen[w.cfg.Run[i]] = true
		r := w.runOf(i)
		switch {
		case skipsOver && isOver(r):
		case skipsEarly && r.early:
			if early < 0 {
				early = i
			}
		case best < 0:
			best = i
		}
	}
	return best, early
}

func (w *world) next() (best, early int) {
	return w.nextFor(w.on(OldestFirst), w.on(SkipsOver), w.on(SkipsEarly))
}

// offer hands the lock to i, and checks that nobody is passed over by that.
func (w *world) offer(i int) {
	w.checkNext(i)
	if isOver(w.runOf(i)) {
		w.breaks(inVain)
	}
	w.s.lock = entry{}
	if w.on(Offers) {
		w.s.lock = entry{kind: offer, who: uint8(i + 1)}
		w.note(noteOffered, i)
	}
	if w.on(OfferWakes) {
		w.wake(i)
	}
}

func (w *world) checkNext(i int) {
	if best, _ := w.nextFor(true, true, true); best >= 0 && best != i {
		at := w.position(i)
		if at < 0 || at > w.position(best) {
			w.note(notePassed, best)
			w.breaks(passedOver)
		}
	}
}

// vacate hands the lock over to whoever is next.
func (w *world) vacate(silent bool) {
	best, early := w.next()
	if best >= 0 {
		w.offer(best)
		return
	}
	if early >= 0 && !silent && w.on(EarlyWoken) {
		w.wake(early)
	}
	if w.s.lock.kind != free {
		w.note(noteFreed, -1)
	}
	w.s.lock = entry{}
}

func (w *world) retire() {
	if w.on(RetiresLapsed) {
		w.dequeue(int(w.s.lock.who - 1))
	}
}

// release hands over what is free, lapsed, or offered to gone (-1: nobody), who has
// just been taken out of the queue.
func (w *world) release(gone int) {
	l := w.s.lock
	switch {
	case l.kind == free && !w.waited(), l.kind == held, l.kind == offer && int(l.who-1) != gone:
		return
	case l.kind == stale:
		w.retire()
	}
	w.vacate(false)
}
