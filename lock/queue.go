package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// step is by how much a waiter's timer is later than that of the one before it.
const step = 100 * time.Millisecond

// A queue holds the waiting claims of a Locker. Those for one place (a resource,
// or a run of a job) stand behind one entry in Redis, and are served one per
// turn.
type queue struct {
	l *Locker

	mu    sync.Mutex
	spots map[string]*spot
	n     int
}

func newQueue(l *Locker) *queue { return &queue{l: l, spots: make(map[string]*spot)} }

func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// A spot is a place at which somebody of this Locker waits; one goroutine
// claims for all of them.
type spot struct {
	q     *queue
	place string
	claim claimant      // of the waiter whose turn it is
	kick  chan struct{} // woken, or the waiters have changed

	waiters []*waiter // under the queue's lock; the first is the one whose turn it is
}

// A waiter is one call that waits.
type waiter struct {
	ctx    context.Context
	claim  claimant
	onLook func(Look)

	answer  chan answer // takes the last answer
	last    answer      // under the queue's lock: the answer before
	refused bool        // whether there was one

	looks chan *Look // what onLook is to be told, on the caller's goroutine
}

// maxLooks is how many looks may wait for their caller; what is beyond is dropped.
const maxLooks = 64

// wait queues a claim until it is granted, told done or exhausted, fails for
// good, or its context ends.
func (q *queue) wait(w *waiter) (answer, error) {
	w.answer = make(chan answer, 1)
	if w.onLook != nil {
		w.looks = make(chan *Look, maxLooks)
	}
	if !q.enter(w) {
		return answer{}, ErrClosed
	}
	returned := false
	defer func() { // onLook may panic
		if !returned {
			q.abandon(w)
		}
	}()
	a, err := q.await(w)
	returned = true
	return a, err
}

func (q *queue) await(w *waiter) (answer, error) {
	for {
		select {
		case look := <-w.looks:
			w.onLook(*look)
			continue
		case a := <-w.answer:
			for len(w.looks) > 0 { // of before the answer
				w.onLook(*<-w.looks)
			}
			return a, a.Grant.Err
		case <-w.ctx.Done():
		case <-q.l.closing.Done():
		}
		break
	}
	if a, answered := q.leave(w); answered {
		return a, a.Grant.Err
	}
	err := context.Cause(w.ctx)
	if q.l.closing.Err() != nil {
		err = ErrClosed
	}
	if w.refused {
		err = fmt.Errorf("%w: %w", w.last.Grant.Err, err)
	}
	return w.last, err
}

// abandon takes a waiter away whose caller has panicked, and gives back what it
// was granted.
func (q *queue) abandon(w *waiter) {
	a, answered := q.leave(w)
	if !answered {
		return
	}
	if e, ok := parseEntry(a.Grant.entry); ok && a.Grant.Err == nil {
		c := &w.claim
		q.l.giveBack(q.l.shardOf(c.resource), []stray{{place: c.place, resource: c.resource, nonce: e.nonce, lease: c.lease}}, 0)
	}
}

// enter puts a waiter behind those who wait at its place.
func (q *queue) enter(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.spots[w.claim.place]
	if s == nil {
		s = &spot{q: q, place: w.claim.place, kick: make(chan struct{}, 1)}
		if !q.l.chores.start(s.run) {
			return false
		}
		q.spots[w.claim.place] = s
	}
	s.waiters = append(s.waiters, w)
	q.n++
	return true
}

// leave takes a waiter away whose caller does not wait any more, unless it was
// answered in the meantime.
func (q *queue) leave(w *waiter) (answer, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case a := <-w.answer:
		return a, true
	default:
	}
	if s := q.spots[w.claim.place]; s != nil {
		for i, x := range s.waiters {
			if x == w {
				s.waiters = append(s.waiters[:i:i], s.waiters[i+1:]...)
				q.n--
				s.nudge()
				break
			}
		}
	}
	return answer{}, false
}

// wake has the waiter at a place claim again; all of them if place is "".
func (q *queue) wake(place string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if place != "" {
		if s := q.spots[place]; s != nil {
			s.nudge()
		}
		return
	}
	for _, s := range q.spots {
		s.nudge()
	}
}

func (s *spot) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// turn returns the waiter whose turn it is; nil, and the spot is gone, if
// nobody waits any more and end is true.
func (s *spot) turn(end bool) *waiter {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for len(s.waiters) > 0 {
		if w := s.waiters[0]; w.ctx.Err() == nil {
			return w
		}
		s.waiters = s.waiters[1:] // it is about to leave
		s.q.n--
	}
	if end {
		delete(s.q.spots, s.place)
	}
	return nil
}

// deliver gives a waiter its last answer; false if it has left.
func (s *spot) deliver(w *waiter, a answer) bool {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i:i], s.waiters[i+1:]...)
			s.q.n--
			w.answer <- a
			return true
		}
	}
	return false
}

// tell notes a refusal for everyone here, and tells those who look.
func (s *spot) tell(look Look, a *answer) {
	s.q.mu.Lock()
	waiters := append([]*waiter(nil), s.waiters...)
	for _, w := range waiters {
		if a != nil {
			w.last, w.refused = *a, true
		}
	}
	s.q.mu.Unlock()
	for _, w := range waiters {
		if w.onLook != nil && (!look.Again || w.refused) {
			look := look
			if look.Again {
				look.Result = w.last.JobResult
			}
			select {
			case w.looks <- &look:
			default:
			}
		}
	}
}

// A try is one waiter's claim: sent with the same nonce until it is answered.
type try struct {
	w     *waiter
	nonce string
	kin   string // of its call
	args  []any  // of its call, after the waiter
	looks int    // how often it was sent
	ghost int64  // until when a send that was not answered may yet be executed
}

func newTry(w *waiter) try {
	c, nonces := claimCall(0, "", []claimant{w.claim})
	return try{w: w, nonce: nonces[0], kin: c.kin, args: c.args[1:]}
}

// run claims for the waiters of a spot, one after another, until none is left.
func (s *spot) run() {
	l := s.q.l
	var t try
	inQueue, tried := false, false // in Redis; and whether the wire was waited for
	pause := newPause()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w := s.turn(!inQueue && t.ghost == 0)
		if w == nil {
			if !inQueue && t.ghost == 0 {
				return
			}
			l.depart(l.shardOf(s.claim.resource), l.id, []stray{s.stray(&t, "")}, t.ghost)
			inQueue, t = false, try{}
			continue
		}
		if t.w != w {
			s.abandon(&t)
			s.claim, t = w.claim, newTry(w)
		}
		if t.looks > 0 {
			s.tell(Look{Again: true}, nil)
		}
		t.looks++
		queue := inQueue || tried || l.wire.live()
		inQueue = inQueue || queue
		a, err := s.claimOnce(&t, queue)
		switch {
		case errors.Is(err, ErrNotReplicated):
			s.unconfirm(&t, err)
			inQueue, t = false, try{} // Redis has taken it out of the queue with the grant
		case errors.Is(err, ErrUnavailable) && l.closing.Err() == nil:
			if w.ctx.Err() == nil {
				s.tell(Look{Err: err}, nil)
			}
			s.pause(timer, pause.NextBackOff(), w)
		case err != nil:
			s.deliver(w, failed(&w.claim, err))
		case a.status == "used":
			s.abandon(&t)
			looks := t.looks
			t = newTry(w)
			t.looks = looks
		case (a.status == "held" || a.status == "early") && l.closing.Err() != nil:
			s.drain()
		case a.status == "held" || a.status == "early":
			pause.Reset()
			if !queue {
				if err := l.wire.open(w.ctx); err != nil {
					s.deliver(w, failed(&w.claim, err))
					continue
				}
				tried = true
				continue
			}
			s.tell(Look{Result: a.JobResult}, &a)
			s.pause(timer, delay(a), w)
		default: // granted, done or exhausted: Redis has taken it out of the queue; or corrupt
			pause.Reset()
			inQueue = inQueue && a.status == "bad"
			s.finish(&t, a)
			t = try{}
		}
	}
}

// drain empties the spot when the Locker closes; its waiters see that by themselves.
func (s *spot) drain() {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	s.q.n -= len(s.waiters)
	s.waiters = nil
}

// finish hands over a last answer. A grant whose waiter has left is given back.
func (s *spot) finish(t *try, a answer) {
	fence := "" // of what reached its caller
	delivered := s.deliver(t.w, a)
	if delivered && a.status == "granted" {
		fence = fenceText(a.Grant.Fence)
	}
	if !delivered && a.status == "granted" || t.ghost > 0 {
		s.q.l.giveBack(s.q.l.shardOf(s.claim.resource), []stray{s.stray(t, fence)}, t.ghost)
	}
}

// unconfirm gives back a grant that was not replicated, and tells its waiter.
func (s *spot) unconfirm(t *try, err error) {
	l := s.q.l
	l.awaitReleases(t.w.ctx, l.giveBack(l.shardOf(s.claim.resource), []stray{s.stray(t, "")}, t.ghost))
	s.deliver(t.w, failed(&t.w.claim, err))
}

func (s *spot) stray(t *try, real string) stray {
	return stray{place: s.claim.place, resource: s.claim.resource, nonce: t.nonce, real: real, lease: s.claim.lease}
}

// abandon gives back what unanswered sends of a claim may still get.
func (s *spot) abandon(t *try) {
	if t.ghost > 0 {
		s.q.l.giveBack(s.q.l.shardOf(s.claim.resource), []stray{s.stray(t, "")}, t.ghost)
	}
}

// claimOnce claims, as a waiter if queue is true.
func (s *spot) claimOnce(t *try, queue bool) (answer, error) {
	l := s.q.l
	waiter := ""
	if queue {
		waiter = l.id
	}
	c := &call{script: claimScript, shard: l.shardOf(s.claim.resource), once: true, kin: t.kin, args: append([]any{waiter}, t.args...)}
	c.until = l.now() + sendTime + sendTime/2
	if d, ok := t.w.ctx.Deadline(); ok {
		c.until = min(c.until, l.now()+min(max(time.Until(d), 0), giveUp))
	}
	l.execUntil(context.Background(), l.dead, []*call{c})
	if c.state.Load() == callLeft { // the Locker is dead, and the call still under way
		return answer{}, ErrClosed
	}
	t.ghost = max(t.ghost, c.ghost)
	err := l.outcome(context.Background(), c)
	if err != nil {
		return answer{}, err
	}
	a := answerOf(c, 0, &t.w.claim)
	if a.status == "granted" {
		err = c.short
	}
	return a, err
}

// failed makes an answer of an error.
func failed(cl *claimant, err error) answer {
	return answer{status: "failed", JobResult: JobResult{Grant: Result{Resource: cl.resource, Err: err}, Job: JobInfo{ID: cl.job}}}
}

// delay tells when to claim again if no message comes: when the way is free, at
// most probeTime, and later by a step for each waiter before this one, so that a
// crowd does not come at once.
func delay(a answer) time.Duration {
	d := min(a.left, probeTime-time.Millisecond) + time.Millisecond + time.Duration(a.rank)*step
	if a.rank == 0 {
		return d + rand.N(5*time.Millisecond)
	}
	return d + rand.N(step)
}

// pause waits until the spot is woken, its timer ends, or w is not the one to
// claim for any more.
func (s *spot) pause(timer *time.Timer, d time.Duration, w *waiter) {
	timer.Reset(d)
	select {
	case <-timer.C:
	case <-s.kick:
	case <-w.ctx.Done():
	case <-s.q.l.closing.Done():
	}
}
