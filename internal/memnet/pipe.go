package memnet

import (
	"io"
	"net"
	"time"
)

// Pipe makes a connection, and returns both of its ends.
func Pipe() (client, server net.Conn) {
	a, b := NewInbox(), NewInbox()
	return &end{in: a, out: b}, &end{in: b, out: a}
}

// An end is one end of a connection.
type end struct{ in, out *Inbox }

// Read returns io.EOF when all has been read that was written before the other end was closed.
func (e *end) Read(b []byte) (int, error) {
	n, err := e.in.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // it is compared like that by everybody who reads
		err = &net.OpError{Op: "read", Net: network, Addr: Addr{}, Err: err}
	}
	return n, err
}

// Write never waits. It is io.ErrClosedPipe when the other end was closed.
func (e *end) Write(b []byte) (int, error) {
	err := e.in.Err()
	if err == io.EOF { //nolint:errorlint // the same
		err = io.ErrClosedPipe
	}
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: network, Addr: Addr{}, Err: err}
	}
	e.out.Arrive(b)
	return len(b), nil
}

// Close ends the reading here, and the writing there; what was written before can still be read there.
func (e *end) Close() error {
	e.out.Fail(io.EOF)
	return e.in.Close()
}

// SetReadDeadline is until when Read waits.
func (e *end) SetReadDeadline(t time.Time) error { return e.in.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (e *end) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (e *end) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

// LocalAddr names no place.
func (e *end) LocalAddr() net.Addr { return Addr{} }

// RemoteAddr names no place.
func (e *end) RemoteAddr() net.Addr { return Addr{} }

const network = "memory"

// Addr is where every connection leads: within the process.
type Addr struct{}

// Network is "memory".
func (Addr) Network() string { return network }

// String is the network's name: there are no places in it.
func (Addr) String() string { return network }
