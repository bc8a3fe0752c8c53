package model

import "slices"

// A state is everything at one moment. It has no pointers and no padding that
// matters, so that states are compared and hashed whole.
type state struct {
	lock    entry
	queue   [Waiters]uint8 // who waits, oldest first, each plus one
	runs    [Runs]run
	clients [Waiters]client
	budget  [budgets]uint8
	broken  property
}

// An entry of locks.
type entry struct {
	kind              uint8
	who, nonce, fence uint8 // who plus one
}

const (
	free uint8 = iota
	held
	lapsed // held once: its lease has ended
	offer
	stale // an offer that has lapsed
)

// A run is the record of one.
type run struct {
	state, attempts, max uint8
	early                bool  // its not-before has not passed
	granted, done        uint8 // what really happened: grants not given back, times that it was done
	newest               grant
	older                [4]grant // those that somebody may still ask for
}

const (
	absent uint8 = iota
	running
	failed
	done
	exhausted
	permanent
)

type grant struct{ who, nonce, fence, how uint8 }

// How a grant ends.
const (
	open uint8 = iota
	byDone
	byFailure
	byPermanent
	byReturn
	byLapse
	byDelayed // failed with a delay; only in requests
)

// A client is a waiter's process.
type client struct {
	flags                           flag
	phase, reply, nonce, fence, how uint8
	wakes                           uint8 // messages under way
	ghosts                          [3]ghost
	strays                          [2]stray
}

const (
	idle     uint8 = iota // has not begun
	claiming              // its claim is under way
	answered              // the reply is
	parked                // waits for a message or its timer
	working
	settling
	settled // the reply is under way
	leaving
	left // the reply is under way
	over // answered, or gone
	dead
)

const (
	toldNothing uint8 = iota
	toldGranted
	toldHeld
	toldEarly
	toldDone
	toldExhausted
	toldUsed
	toldSettled
	toldAgain
	toldLost
)

type flag uint16

const (
	queues    flag = 1 << iota // the claim under way queues
	inQueue                    // one of its claims did
	live                       // the subscription is confirmed
	kicked                     // a message came while a claim was under way
	cancelled                  // its caller has gone
	tooLate                    // its lease is over
	ghostly                    // a send of this claim was not answered
	early                      // it was told not-before
	gaveUp                     // it has left a grant to run out
)

func (cl *client) is(f flag) bool { return cl.flags&f != 0 }
func (cl *client) set(f flag)     { cl.flags |= f }
func (cl *client) drop(f flag)    { cl.flags &^= f }
func (cl *client) alive() bool    { return cl.phase != idle && cl.phase != dead }

// A ghost is a request that was not answered and may be executed yet.
type ghost struct{ phase, nonce, fence, arg uint8 }

// A stray is a grant to be given back, if there is one with that nonce.
type stray struct {
	nonce, real uint8
	guarded     bool // only after all its ghosts are gone
	set         bool
}

// Budgets of what may happen.
const (
	cancels = iota
	delays
	permanents
	returns
	losses
	drops
	doubles
	crashes
	pauses
	budgets
)

// fresh stands for a new nonce or fence until normalize numbers it.
const fresh = 255

// normalize drops what nobody can ask for any more and numbers nonces and fences
// by where they stand, so that states that differ in nothing else are one.
func (s *state) normalize() {
	for i := range s.clients {
		c := &s.clients[i]
		if c.phase == over || c.phase == dead {
			*c = client{phase: c.phase, reply: c.reply, flags: c.flags & (live | gaveUp), wakes: c.wakes, ghosts: c.ghosts, strays: c.strays}
		}
		slices.SortFunc(c.ghosts[:], compareGhosts)
		if c.is(gaveUp) && (s.lock.kind != held || int(s.lock.who) != i+1) {
			c.drop(gaveUp)
		}
	}
	for r := range s.runs {
		s.forget(&s.runs[r])
	}
	s.number()
}

func compareGhosts(a, b ghost) int {
	x := int(a.phase)<<24 | int(a.nonce)<<16 | int(a.fence)<<8 | int(a.arg)
	y := int(b.phase)<<24 | int(b.nonce)<<16 | int(b.fence)<<8 | int(b.arg)
	return y - x // none last
}

// forget drops the ended grants that nobody can ask for.
func (s *state) forget(r *run) {
	if r.newest.who != 0 && r.newest.how != open && !s.wanted(r.newest) {
		r.newest = grant{}
	}
	kept := [len(r.older)]grant{}
	n := 0
	for _, g := range r.older {
		if g.who != 0 && s.wanted(g) {
			kept[n] = g
			n++
		}
	}
	r.older = kept
}

func (s *state) wanted(g grant) bool {
	c := &s.clients[g.who-1]
	if c.nonce == g.nonce || c.fence == g.fence || s.lock.who == g.who && s.lock.nonce == g.nonce {
		return true
	}
	for _, x := range c.ghosts {
		if x.phase != 0 && (x.nonce == g.nonce || x.fence == g.fence) {
			return true
		}
	}
	for _, x := range c.strays {
		if x.set && x.nonce == g.nonce {
			return true
		}
	}
	return false
}

// number gives nonces (of each waiter) and fences new names, in order of
// appearance.
func (s *state) number() {
	var fences, nonces [Waiters]naming
	one := func(who uint8, nonce, fence *uint8) {
		if who > 0 {
			nonces[who-1].rename(nonce)
			fences[0].rename(fence)
		}
	}
	one(s.lock.who, &s.lock.nonce, &s.lock.fence)
	for i := range s.clients {
		c := &s.clients[i]
		one(uint8(i+1), &c.nonce, &c.fence)
		for k := range c.ghosts {
			one(uint8(i+1), &c.ghosts[k].nonce, &c.ghosts[k].fence)
		}
		for k := range c.strays {
			one(uint8(i+1), &c.strays[k].nonce, &c.strays[k].real)
		}
	}
	for k := range s.runs {
		r := &s.runs[k]
		one(r.newest.who, &r.newest.nonce, &r.newest.fence)
		for i := range r.older {
			one(r.older[i].who, &r.older[i].nonce, &r.older[i].fence)
		}
	}
}

// A naming maps old names, in order of appearance, to 1, 2 and so on.
type naming struct {
	old [12]uint8
	n   int
}

func (m *naming) rename(name *uint8) {
	if *name == 0 {
		return
	}
	for i := range m.n {
		if m.old[i] == *name {
			*name = uint8(i + 1)
			return
		}
	}
	m.old[m.n] = *name
	m.n++
	*name = uint8(m.n)
}
