package sim

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/lockingworker/lockingworker/internal/memnet"
)

// A conn is a connection to the server, as its process has it: a stream each way,
// in packets that take their time. All but what is said to be fixed is under the
// world's lock.
type conn struct {
	w  *world     // fixed
	p  *process   // fixed
	s  *incarnate // fixed: the life of the server that it leads to
	id int

	in   *memnet.Inbox // fixed: what has arrived, until it is read
	used bool          // something was sent beside the greeting
	held [][]byte      // packets of a process that is paused

	up, down time.Time // when the last packet arrives, which none overtakes
	mute     bool      // what the server answers is lost, and then the connection

	// The server's end.
	peer     *server.Peer
	request  []byte   // that is not complete
	reply    *[]byte  // what is being answered
	channels []string // subscribed
	hungUp   bool
}

func (w *world) dial(ctx context.Context, p *process) (net.Conn, error) {
	refused := func(err error) error { return &net.OpError{Op: "dial", Net: "sim", Err: err} }
	p.runningOr(ctx)
	w.mu.Lock()
	delay := w.weather.delay(w.rng)
	w.mu.Unlock()
	if err := sleep(ctx, delay); err != nil {
		return nil, refused(err)
	}
	p.runningOr(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil, refused(ctx.Err())
	}
	if p.dead || w.server.life == nil || w.chance(w.weather.refuse) {
		return nil, refused(syscall.ECONNREFUSED)
	}
	w.dialled++
	c := &conn{w: w, p: p, s: w.server.life, id: w.dialled, in: memnet.NewInbox()}
	c.peer, c.reply = newPeer()
	c.s.conns[c] = struct{}{}
	p.conns[c] = struct{}{}
	return c, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Read waits until something has arrived. A process that is paused does not come
// back from it, but with the answer to its greeting.
func (c *conn) Read(b []byte) (int, error) {
	c.w.mu.Lock()
	used := c.used
	c.w.mu.Unlock()
	if used {
		c.p.running()
	}
	n, err := c.in.Read(b)
	if used {
		c.p.running()
	}
	if err != nil {
		err = &net.OpError{Op: "read", Net: "sim", Err: err}
	}
	return n, err
}

// Write sends a packet, and never waits: what a process writes that is paused is sent
// when it runs again. A greeting (HELLO) is answered at once: the client holds a
// mutex meanwhile, and while another goroutine waits for that, no time would pass.
func (c *conn) Write(b []byte) (int, error) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := c.in.Err(); err != nil {
		return 0, &net.OpError{Op: "write", Net: "sim", Err: err}
	}
	data := append([]byte(nil), b...)
	switch {
	case !c.used && isGreeting(data):
		w.server.receive(c, data)
	case c.p.paused != nil:
		c.used = true
		c.held = append(c.held, data)
	default:
		c.used = true
		c.send(data)
	}
	return len(b), nil
}

func isGreeting(data []byte) bool {
	args, rest := parse(data)
	return len(args) > 0 && strings.EqualFold(args[0], "hello") && len(rest) == 0
}

// send sends a packet now. The world's lock is held.
func (c *conn) send(data []byte) {
	w := c.w
	switch {
	case w.chance(w.weather.cutBefore):
		w.count("connections cut")
		w.after(w.weather.delay(w.rng), func() { c.fail(syscall.ECONNRESET) })
		return
	case w.chance(w.weather.cutAfter):
		w.count("replies lost")
		c.mute = true
	}
	delay := w.weather.delay(w.rng)
	if w.chance(w.weather.late) {
		w.count("requests late")
		delay += w.span(w.weather.latest)
	}
	c.up = later(c.up, delay)
	w.after(time.Until(c.up), func() { w.server.receive(c, data) })
}

// later is when a packet arrives that takes so long, behind the one before it.
func later(last time.Time, delay time.Duration) time.Time {
	if at := time.Now().Add(delay); at.After(last) {
		return at
	}
	return last.Add(1)
}

// deliver sends what the server answers. The world's lock is held.
func (c *conn) deliver(data []byte) {
	w := c.w
	if !c.used {
		c.in.Arrive(data)
		return
	}
	if c.mute {
		w.after(w.weather.delay(w.rng), func() { c.fail(syscall.ECONNRESET) })
		return
	}
	delay := w.weather.delay(w.rng)
	if w.chance(w.weather.late) {
		w.count("replies late")
		delay += w.span(w.weather.latest)
	}
	c.down = later(c.down, delay)
	w.after(time.Until(c.down), func() { c.in.Arrive(data) })
}

// fail ends the connection for both sides.
func (c *conn) fail(err error) {
	c.in.Fail(err)
	c.hangUp()
}

// hangUp ends the server's side.
func (c *conn) hangUp() {
	if !c.hungUp {
		c.hungUp = true
		c.w.server.unsubscribe(c, c.channels)
		delete(c.s.conns, c)
	}
}

// Close closes the client's side. What it has sent arrives all the same, and then
// the server learns of it.
func (c *conn) Close() error {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := c.in.Close(); err != nil {
		return err
	}
	delete(c.p.conns, c)
	c.up = later(c.up, w.weather.delay(w.rng))
	w.after(time.Until(c.up), c.hangUp)
	return nil
}

// SetReadDeadline is what bounds Read.
func (c *conn) SetReadDeadline(t time.Time) error { return c.in.SetReadDeadline(t) }

// SetWriteDeadline does nothing: Write never waits but with its process.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// LocalAddr names no place.
func (c *conn) LocalAddr() net.Addr { return memnet.Addr{} }

// RemoteAddr names no place.
func (c *conn) RemoteAddr() net.Addr { return memnet.Addr{} }

var errCrashed = errors.New("the process has crashed")
