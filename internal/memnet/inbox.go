package memnet

import (
	"net"
	"os"
	"sync"
	"time"
)

// An Inbox has what has arrived at one end of a connection and was not read yet. Its
// methods may be called from any goroutine, and only Read waits.
type Inbox struct {
	mu      sync.Mutex
	arrived []byte
	failure error         // why nothing more will arrive; nil: it may
	closed  bool          // by the reader
	by      time.Time     // deadline; zero: none
	changed chan struct{} // closed when Read is to look again
}

// NewInbox makes one in which nothing has arrived.
func NewInbox() *Inbox { return &Inbox{changed: make(chan struct{})} }

// Arrive adds to what can be read, unless it is closed or has failed.
func (i *Inbox) Arrive(data []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed && i.failure == nil {
		i.arrived = append(i.arrived, data...)
		i.look()
	}
}

// Fail says that nothing more will arrive, and what Read is to return then. Only the first call counts.
func (i *Inbox) Fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure == nil {
		i.failure = err
		i.look()
	}
}

// Close ends the reading. It is net.ErrClosed the second time.
func (i *Inbox) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return net.ErrClosed
	}
	i.closed, i.arrived = true, nil
	i.look()
	return nil
}

// Err returns why nothing more can arrive: net.ErrClosed after Close, what Fail was told, or nil.
func (i *Inbox) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return net.ErrClosed
	}
	return i.failure
}

// Read waits until something has arrived or nothing more will, or for the deadline, after which it is
// os.ErrDeadlineExceeded.
func (i *Inbox) Read(b []byte) (int, error) {
	for {
		n, changed, by, err := i.take(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if by.IsZero() {
			<-changed
			continue
		}
		t := time.NewTimer(time.Until(by))
		select {
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// take reads what is there; or returns what to wait for.
func (i *Inbox) take(b []byte) (n int, changed <-chan struct{}, by time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		err = net.ErrClosed
	case len(i.arrived) > 0:
		n = copy(b, i.arrived)
		i.arrived = i.arrived[n:]
	case i.failure != nil:
		err = i.failure
	case !i.by.IsZero() && !time.Now().Before(i.by):
		err = os.ErrDeadlineExceeded
	}
	return n, i.changed, i.by, err
}

// SetReadDeadline is until when Read waits; the zero time is for ever.
func (i *Inbox) SetReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.by = t
	i.look()
	return nil
}

// look has Read look again. The lock is held.
func (i *Inbox) look() {
	close(i.changed)
	i.changed = make(chan struct{})
}
