package model

import (
	"fmt"
	"strings"
)

type noteKind uint8

const (
	noteQueued noteKind = iota
	noteDequeued
	noteUnheard
	noteWoken
	noteOffered
	notePassed
	noteFreed
	noteGivenBack
	noteTelling
)

// A note is one thing that a script did.
type note struct {
	kind noteKind
	who  int
	told uint8
}

func (w *world) note(kind noteKind, who int) {
	if w.trace {
		w.notes = append(w.notes, note{kind: kind, who: who})
	}
}

func (w *world) noteTold(who int, told uint8) {
	if w.trace {
		w.notes = append(w.notes, note{noteTelling, who, told})
	}
}

var toldWords = [...]string{
	toldNothing: "nothing", toldGranted: "granted", toldHeld: "held by another, or offered to one", toldEarly: "too early",
	toldDone: "done", toldExhausted: "exhausted", toldUsed: "that its nonce is used up", toldSettled: "settled",
	toldAgain: "settled already", toldLost: "that its lease is lost",
}

var howWords = [...]string{
	byDone: "done", byFailure: "failed", byPermanent: "failed for good", byReturn: "given back", byLapse: "lapsed",
	byDelayed: "failed, with a delay",
}

var requestWords = map[uint8]string{
	claiming: "claim", answered: "claim", settling: "settlement", settled: "settlement", leaving: "leaving", left: "leaving",
}

func waiterName(i int) string { return fmt.Sprintf("w%d", i+1) }

func (n note) String() string {
	who := ""
	if n.who >= 0 {
		who = waiterName(n.who)
	}
	switch n.kind {
	case noteQueued:
		return who + " is queued"
	case noteDequeued:
		return who + " is out of the queue"
	case noteUnheard:
		return "a message to " + who + ", who has not subscribed yet"
	case noteWoken:
		return "a message to " + who
	case noteOffered:
		return "the lock is offered to " + who
	case notePassed:
		return who + ", who may be granted it and is older, is passed over"
	case noteFreed:
		return "the lock is free"
	case noteGivenBack:
		return "what " + who + " was granted is given back"
	case noteTelling:
		return who + " is told: " + toldWords[n.told]
	}
	return ""
}

// words tells one step, taken in the state before, and what Redis did.
func words(before *state, x step, notes []note) string {
	cl := &before.clients[min(int(x.who), Waiters-1)]
	who := waiterName(int(x.who))
	text := ""
	switch x.op {
	case opBegin:
		text = who + " begins: it sends a claim"
	case opReturn:
		text = who + " comes again: it sends a claim"
	case opCancel:
		text = "the caller of " + who + " goes away"
	case opExecute:
		text = "Redis executes the " + requestWords[cl.phase] + " of " + who
		if cl.phase == settling {
			text += " (" + howWords[cl.how] + ")"
		}
	case opLose:
		text = "the " + requestWords[cl.phase] + " of " + who + " gets no answer in time, and is sent again"
		if cl.phase == answered || cl.phase == settled || cl.phase == left {
			text = "the reply to the " + requestWords[cl.phase] + " of " + who + " is lost; it is sent again"
		}
	case opReply:
		text = who + " gets its answer: " + toldWords[cl.reply]
		if cl.phase == left {
			text = who + " learns that it has left"
		}
	case opDeliver:
		text = who + " gets a message"
	case opDouble:
		text = who + " gets a message that will come once more"
	case opDrop:
		text = "a message to " + who + " is lost"
	case opTimer:
		text = "the timer of " + who + " ends: it claims"
	case opNotice:
		text = who + " notices that its lease is lost, and claims again"
	case opSettle:
		text = "the work of " + who + " ends: " + howWords[x.arg]
	case opGiveUp:
		text = who + " gives up its settlement, which may be executed yet, lets the lease run out and claims again"
	case opCrash:
		text = who + " dies"
	case opGhost:
		text = "Redis executes, late, a " + requestWords[cl.ghosts[x.arg].phase] + " of " + who
	case opExpire:
		text = "a late " + requestWords[cl.ghosts[x.arg].phase] + " of " + who + " will not be executed any more"
	case opStray:
		text = who + " has given back what a claim of its may have got"
	case opLapse:
		text = "the lease of " + who + " runs out"
	case opOfferLapses:
		text = "the offer to " + who + " lapses"
	case opSweep:
		text = "a sweep finds what has lapsed"
	case opDelayOver:
		text = "the delay of run " + string(rune('A'+x.who)) + " is over"
	case opConfirm:
		text = "the subscription of " + who + " is confirmed"
	}
	if len(notes) > 0 {
		parts := make([]string, len(notes))
		for k, n := range notes {
			parts[k] = n.String()
		}
		text += ": " + strings.Join(parts, "; ")
	}
	return text
}

// words tells who wants what.
func (c *Config) words() string {
	parts := make([]string, Waiters)
	for i := range parts {
		if c.Plain {
			return "all want the same plain lock"
		}
		parts[i] = fmt.Sprintf("%s wants run %c, at most %d attempts", waiterName(i), 'A'+c.Run[i], c.Max[i])
	}
	return strings.Join(parts, "; ")
}

var propertyWords = map[property]string{
	twoHolders:     "two holders",
	withoutLock:    "a holder works whose lock is not its own any more",
	beyondMaximum:  "more grants of a run than the maximum",
	doneTwice:      "a run is done twice",
	afterDone:      "a run is granted after it was done",
	passedOver:     "an older waiter, who may be granted the lock, is passed over",
	inVain:         "the lock is offered to one whose run is over",
	ownRefused:     "a claim that was granted is sent again, and is refused",
	exhaustedEarly: "a run is called exhausted before its attempts are used up",
	leftBehind:     "a place in the queue, or a grant, is left behind by one who knows nothing of it",
	stuck:          "somebody waits, and nothing is left that could have him claim again",
	endless:        "somebody waits, and is never answered, though nothing goes wrong any more",
}
