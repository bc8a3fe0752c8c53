package redistest

import (
	"slices"
	"strings"
	"sync"
)

// request is a command on its way, until it is answered.
type request struct {
	args []string
	raw  []byte
	loss *Loss // nil: it passes
	left int   // confirmations still to come; only of a subscription that has been confirmed in part
}

// pairing knows which command of one connection a reply belongs to. Redis replies in order; only pushes come in between,
// which in RESP2 look like replies.
type pairing struct {
	mu      sync.Mutex
	pending []*request

	subscriptions map[string][]string // kind ("", "p" or "s") to channels; used by the reader of replies alone
}

// add takes a command in, and reports whether it begins a batch.
func (p *pairing) add(r *request) (begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, r)
	return len(p.pending) == 1
}

// head returns the command that is to be answered next, or nil.
func (p *pairing) head() *request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) == 0 {
		return nil
	}
	return p.pending[0]
}

func (p *pairing) pop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = p.pending[1:]
}

// marked reports whether a command that is still to be answered is to be lost.
func (p *pairing) marked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.pending, func(r *request) bool { return r.loss != nil })
}

// takeLostRequest takes out the command at the head if the server never sees it: its turn to be answered has come.
func (p *pairing) takeLostRequest() *Loss {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) == 0 || p.pending[0].loss == nil || p.pending[0].loss.executed {
		return nil
	}
	loss := p.pending[0].loss
	p.pending = p.pending[1:]
	return loss
}

// message returns the channel if the frame is a Pub/Sub message.
func (p *pairing) message(f frame) (channel string, is bool) {
	if !p.push(f) || len(f.items) < 3 {
		return "", false
	}
	switch f.items[0] {
	case "message", "smessage":
		return f.items[1], true
	case "pmessage":
		return f.items[2], true
	default:
		return "", false
	}
}

// push reports whether the frame may be out of band: in RESP2 only a connection that has subscribed gets such arrays.
func (p *pairing) push(f frame) bool {
	return f.kind == '>' || f.kind == '*' && len(p.subscriptions) > 0
}

// answers returns the command that the frame answers, or nil if it answers none, and whether the command is answered in
// full with it. Then the command is taken out.
func (p *pairing) answers(f frame) (r *request, full bool) {
	r = p.head()
	if kind, subscribe, is := confirmation(f); is && r != nil && strings.EqualFold(r.args[0], f.items[0]) {
		if r.left == 0 {
			r.left = len(r.args) - 1
			if r.left == 0 { // unsubscribe from all: one for each, or a single one if there is none
				r.left = max(1, len(p.subscriptions[kind]))
			}
		}
		p.note(kind, f.items[1], subscribe)
		r.left--
		if r.left > 0 {
			return r, false
		}
	} else if f.kind == '>' || p.push(f) && (is || p.isMessage(f)) {
		return nil, false // such as a message, or the end of a shard channel whose slot has moved
	}
	if r == nil {
		return nil, false // such as the error with which a full server greets
	}
	if strings.EqualFold(r.args[0], "reset") {
		p.subscriptions = nil
	}
	p.pop()
	return r, true
}

func (p *pairing) isMessage(f frame) bool {
	_, is := p.message(f)
	return is
}

// note keeps the list of subscriptions.
func (p *pairing) note(kind, channel string, subscribe bool) {
	channels := slices.DeleteFunc(p.subscriptions[kind], func(c string) bool { return c == channel })
	if subscribe {
		channels = append(channels, channel)
	}
	switch {
	case len(channels) == 0:
		delete(p.subscriptions, kind)
	case p.subscriptions == nil:
		p.subscriptions = map[string][]string{kind: channels}
	default:
		p.subscriptions[kind] = channels
	}
}

// confirmation tells whether the frame looks like the confirmation of a subscription or of its end.
func confirmation(f frame) (kind string, subscribe, is bool) {
	if f.kind != '*' && f.kind != '>' || len(f.items) < 2 {
		return "", false, false
	}
	name := f.items[0]
	for _, kind := range []string{"", "p", "s"} {
		switch name {
		case kind + "subscribe":
			return kind, true, true
		case kind + "unsubscribe":
			return kind, false, true
		}
	}
	return "", false, false
}
