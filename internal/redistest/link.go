package redistest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one client's connection through a proxy.
type link struct {
	proxy   *Proxy
	client  *net.TCPConn
	server  *net.TCPConn
	pairing pairing
	ended   chan struct{} // closed by cut
	hung    atomic.Bool   // keeps the client's side open whatever the server does

	mu     sync.Mutex // orders cut and connect
	over   bool
	dumb   bool // a request was lost, so none follows; used by passRequests alone
	deaf   bool // a reply was lost, so none follows; used by passReplies alone
	cutNow bool // a reply was lost with ThenCut; used by passReplies alone
}

// blockBytes bounds what is read of a pipeline, or of a burst of replies, before it is passed on.
const blockBytes = 16 << 20

func newLink(p *Proxy, client *net.TCPConn) *link {
	return &link{proxy: p, client: client, ended: make(chan struct{})}
}

// run serves the connection to its end.
func (l *link) run() {
	defer l.proxy.leave(l)
	defer l.cut()
	if !l.connect() {
		return
	}
	var requests sync.WaitGroup
	requests.Go(l.passRequests)
	l.passReplies()
	if !l.hung.Load() {
		l.cut()
	}
	requests.Wait()
}

// connect connects to the server. It returns false if that fails, or the connection has been cut meanwhile.
func (l *link) connect() bool {
	conn, err := net.DialTimeout("tcp", l.proxy.target, commandBound)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = conn.(*net.TCPConn)
	if l.over {
		reset(l.server)
	}
	return !l.over
}

// cut closes both sides.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.ended)
	reset(l.client)
	if l.server != nil {
		reset(l.server)
	}
}

// passRequests passes on what the client sends, a pipeline at a time. When the client has closed, and everything that it
// sent is passed on, the server is told.
func (l *link) passRequests() {
	in := newFrameReader(l.client)
	for {
		requests, err := l.readBlock(in)
		arrived := time.Now()
		if len(requests) > 0 && !l.waitUntil(arrived.Add(l.proxy.delayOf(Requests))) || !l.forward(requests) {
			l.cut()
			return
		}
		if err != nil {
			l.complain("client", err)
			_ = l.server.CloseWrite()
			return
		}
	}
}

// readBlock reads one command and all that is pipelined behind it: a buffer that ends within a command says that more is
// coming, and so a pipeline counts as one batch however many packets it came in.
func (l *link) readBlock(in *frameReader) (block []*request, err error) {
	for size := 0; size < blockBytes; {
		args, raw, err := in.command()
		if err != nil {
			return block, err
		}
		size += len(raw)
		if len(args) > 0 { // Redis ignores an empty command, too
			block = append(block, &request{args: args, raw: raw})
		}
		if in.Buffered() == 0 && len(block) > 0 {
			break
		}
	}
	return block, nil
}

// forward writes the commands to the server, up to one that is to be lost. It returns false if the connection is over.
func (l *link) forward(block []*request) bool {
	var out []byte
	lostFirst := false
	for _, r := range block {
		if l.dumb {
			continue
		}
		r.loss = l.proxy.lossOf(r.args)
		begins := l.pairing.add(r)
		l.proxy.count(r.args[0], begins)
		if r.loss != nil && !r.loss.executed {
			l.dumb, lostFirst = true, begins
			continue
		}
		out = append(out, r.raw...)
	}
	if len(out) > 0 {
		if !l.proxy.requests.wait(l.ended) {
			return false
		}
		if _, err := l.server.Write(out); err != nil {
			return l.hung.Load()
		}
	}
	if lostFirst { // else passReplies does it, after the replies to what came before
		l.loseRequest()
	}
	return true
}

// loseRequest loses a request whose turn to be answered has come.
func (l *link) loseRequest() {
	loss := l.pairing.takeLostRequest()
	if loss == nil {
		return
	}
	l.proxy.lost(loss)
	if loss.then == ThenCut {
		l.cut()
		return
	}
	l.hung.Store(true)
}

// passReplies passes on what the server sends, a burst at a time.
func (l *link) passReplies() {
	in := newFrameReader(l.server)
	var burst []byte
	var arrived time.Time
	for {
		f, err := in.reply()
		if err != nil {
			l.complain("server", err)
			l.write(burst, arrived)
			return
		}
		if l.passes(f) {
			if len(burst) == 0 {
				arrived = time.Now()
			}
			burst = append(burst, f.raw...)
		}
		if in.Buffered() > 0 && len(burst) < blockBytes {
			continue
		}
		if !l.write(burst, arrived) {
			return
		}
		burst = nil
		if l.cutNow && !l.pairing.marked() {
			l.cut()
			return
		}
		l.loseRequest()
	}
}

// passes decides on one reply or push.
func (l *link) passes(f frame) bool {
	if channel, is := l.pairing.message(f); is {
		return !l.proxy.dropsMessage(channel) && !l.deaf
	}
	r, full := l.pairing.answers(f)
	if r == nil || r.loss == nil {
		return !l.deaf
	}
	l.deaf = true
	if r.loss.then == ThenCut {
		l.cutNow = true
	} else {
		l.hung.Store(true)
	}
	if full {
		l.proxy.lost(r.loss)
	}
	return false
}

// write writes a burst of replies to the client, when it may. It returns false if the connection was cut; a client that
// has left is none of its business, since what that one sent is still to be executed.
func (l *link) write(burst []byte, arrived time.Time) bool {
	if len(burst) == 0 {
		return true
	}
	if !l.proxy.replies.wait(l.ended) || !l.waitUntil(arrived.Add(l.proxy.delayOf(Replies))) {
		return false
	}
	if _, err := l.client.Write(burst); err != nil {
		l.deaf = true
	}
	return true
}

// waitUntil returns false if the connection was cut before.
func (l *link) waitUntil(due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return true
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ended:
		return false
	}
}

// complain fails the test if somebody does not speak the protocol. That a connection ends is no complaint.
func (l *link) complain(who string, err error) {
	if errors.Is(err, errProtocol) {
		l.proxy.t.Errorf("redistest: proxy to %s: the %s: %v", l.proxy.target, who, err)
	}
}
