package redistest

import (
	"slices"
	"strings"
	"time"
)

// Direction is a way through a [Proxy].
type Direction int

// The directions of a proxy.
const (
	Requests Direction = 1 << iota // from the client to the server
	Replies                        // from the server to the client, messages included
	Both     = Requests | Replies
)

// Then is what becomes of a connection that lost a request or a reply. Nothing later can pass on it: clients pair replies
// by their order.
type Then int

const (
	// ThenHang leaves the connection open and silent.
	ThenHang Then = iota
	// ThenCut closes it.
	ThenCut
)

// Stall holds back all bytes that go this way, with all connections open, until Resume. What a client sent before it gave
// up and closed is still executed after Resume, as on a slow network.
func (p *Proxy) Stall(d Direction) {
	if d&Requests != 0 {
		p.requests.shut()
	}
	if d&Replies != 0 {
		p.replies.shut()
	}
}

// Resume ends Stall.
func (p *Proxy) Resume(d Direction) {
	if d&Requests != 0 {
		p.requests.open()
	}
	if d&Replies != 0 {
		p.replies.open()
	}
}

// Delay holds every burst of replies and messages back by d; 0 ends it.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// DelayRequests holds every pipeline of commands back by d; 0 ends it. What a client sent before it gave up and closed is
// executed all the same.
func (p *Proxy) DelayRequests(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = d
}

func (p *Proxy) delayOf(d Direction) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d == Requests {
		return p.hold
	}
	return p.delay
}

// Cut closes all connections now. What is held back on them is lost.
func (p *Proxy) Cut() {
	p.mu.Lock()
	var links []*link
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.cut()
	}
}

// Refuse resets every new connection, or, with false, no longer does. Present ones are left alone: see Cut.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// DropMessages drops all Pub/Sub messages on channels that match, nil being all channels; everything else passes,
// confirmations of subscriptions included.
func (p *Proxy) DropMessages(match func(channel string) bool) {
	if match == nil {
		match = func(string) bool { return true }
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = match
}

// PassMessages ends DropMessages.
func (p *Proxy) PassMessages() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = nil
}

// DroppedMessages returns how many messages were dropped.
func (p *Proxy) DroppedMessages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// DropReplies lets the next n commands that match be executed by the server, and drops their replies.
func (p *Proxy) DropReplies(match func(command []string) bool, n int, then Then) *Loss {
	return p.lose(&Loss{match: match, left: n, pending: n, then: then, executed: true, done: make(chan struct{})})
}

// DropRequests drops the next n commands that match, so that the server never sees them.
func (p *Proxy) DropRequests(match func(command []string) bool, n int, then Then) *Loss {
	return p.lose(&Loss{match: match, left: n, pending: n, then: then, done: make(chan struct{})})
}

// Heal ends all faults: what is stalled resumes, and nothing more is dropped, delayed or refused. Connections that hang
// after a loss keep hanging: see Cut.
func (p *Proxy) Heal() {
	p.mu.Lock()
	p.refuse, p.delay, p.hold, p.messages, p.losses = false, 0, 0, nil, nil
	p.mu.Unlock()
	p.Resume(Both)
}

// Loss is a number of requests or replies that a proxy is told to lose.
type Loss struct {
	match    func([]string) bool
	then     Then
	executed bool          // the reply is lost, not the request
	left     int           // still to be marked; guarded by Proxy.mu
	pending  int           // still to be lost; guarded by Proxy.mu
	done     chan struct{} // closed when none is pending
}

// Done returns a channel that is closed when all of them are lost: for replies, that is after the server executed the
// commands. It stays open if Heal comes first, or if a connection ends with one of them still unanswered.
func (l *Loss) Done() <-chan struct{} { return l.done }

// Named matches commands by name, in any case of letters, for [Proxy.DropReplies] and [Proxy.DropRequests].
func Named(names ...string) func(command []string) bool {
	return func(command []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, command[0]) })
	}
}

func (p *Proxy) lose(l *Loss) *Loss {
	if l.match == nil {
		l.match = func([]string) bool { return true }
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.left <= 0 {
		close(l.done)
		return l
	}
	p.losses = append(p.losses, l)
	return l
}

// lossOf returns the loss that this command is to suffer, or nil.
func (p *Proxy) lossOf(command []string) *Loss {
	p.mu.Lock()
	losses := slices.Clone(p.losses)
	p.mu.Unlock()
	for _, l := range losses {
		if !l.match(command) { // without the lock: a test's function may use the proxy
			continue
		}
		p.mu.Lock()
		marked := l.left > 0
		if marked {
			l.left--
		}
		p.losses = slices.DeleteFunc(p.losses, func(l *Loss) bool { return l.left == 0 })
		p.mu.Unlock()
		if marked {
			return l
		}
	}
	return nil
}

// lost counts one of them as lost.
func (p *Proxy) lost(l *Loss) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.pending--
	if l.pending == 0 {
		close(l.done)
	}
}

// dropsMessage reports whether a message on this channel is dropped, and counts it if so.
func (p *Proxy) dropsMessage(channel string) bool {
	p.mu.Lock()
	match := p.messages
	p.mu.Unlock()
	if match == nil || !match(channel) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped++
	return true
}
