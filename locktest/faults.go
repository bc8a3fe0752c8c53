package locktest

import (
	"slices"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// Faults are what befalls the commands and messages to come.
type faults struct {
	failing    int
	answer     string
	unanswered *int // how many, of the last DropReplies; nil: none
	lost       int
}

// A fault is what befalls one command.
type fault struct {
	kind   kind
	answer string // to failed
	of     *int   // from what unanswered was taken
}

type kind uint8

const (
	failed kind = iota + 1
	unanswered
)

// FailNext has the next n commands fail, without being executed: each is answered with this error, such as "LOADING Redis
// is loading the dataset in memory", or, if answer is empty, its connection breaks. It replaces what an earlier call has
// left; 0 ends it, and math.MaxInt is a Redis that is out of order until then.
//
// A command is whatever any client sends: claims, renewals, releases, the program's own; but none that sets up a connection
// or a subscription. What failed with its connection is sent again: by package lock, and by go-redis for what the program
// sends itself, three times by default.
func (r *Redis) FailNext(n int, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.failing, r.faults.answer = n, answer
}

// DropReplies has the next n commands executed, and their replies lost with their connections, so that nobody knows what
// came of them, and they are sent again. What is answered with an error was not executed, and does not count. Otherwise it
// is as with FailNext, which goes first.
func (r *Redis) DropReplies(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.unanswered = &n
}

// DropMessages has the next n messages of Pub/Sub lost, on all channels: wake-ups, and the events that Watch yields. What
// waits then goes on by timers, up to a second later (inside a bubble, of the bubble's). It replaces what an earlier call
// has left; 0 ends it, and math.MaxInt is all messages until then.
func (r *Redis) DropMessages(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults.lost = n
}

// setUps are the commands that nothing befalls.
var setUps = []string{
	"hello", "auth", "client", "select", "ping", "subscribe", "unsubscribe", "psubscribe", "punsubscribe",
}

// next returns what befalls the next command.
func (r *Redis) next(command string) fault {
	if slices.Contains(setUps, strings.ToLower(command)) {
		return fault{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.faults.failing > 0:
		r.faults.failing--
		return fault{kind: failed, answer: r.faults.answer}
	case r.faults.unanswered != nil && *r.faults.unanswered > 0:
		*r.faults.unanswered--
		return fault{kind: unanswered, of: r.faults.unanswered}
	}
	return fault{}
}

// spare takes back that a command is unanswered.
func (r *Redis) spare(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*f.of++
}

// loses is called before each command, those of scripts too: it has messages get lost. It returns whether that was all.
func (r *Redis) loses(peer *server.Peer, command string, _ ...string) bool {
	if command != "PUBLISH" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults.lost <= 0 {
		return false
	}
	r.faults.lost--
	peer.WriteInt(0)
	return true
}
