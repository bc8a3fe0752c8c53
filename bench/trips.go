package main

import (
	"context"
	"net"
	"sync"
)

// A tripCounter counts round trips to each node, at the connections of a client: a write that follows a read, or is a
// connection's first, begins one. So a pipeline is one, however long it is.
type tripCounter struct {
	mu    sync.Mutex
	trips map[string]int
}

func newTripCounter() *tripCounter { return &tripCounter{trips: make(map[string]int)} }

func (t *tripCounter) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.trips)
}

// most returns the count of the node with the most.
func (t *tripCounter) most() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	most := 0
	for _, n := range t.trips {
		most = max(most, n)
	}
	return most
}

// dial is a client's Dialer.
func (t *tripCounter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &tripConn{Conn: c, counter: t, addr: addr}, nil
}

type tripConn struct {
	net.Conn
	counter *tripCounter
	addr    string

	mu      sync.Mutex
	writing bool
}

func (c *tripConn) turn(writing bool) {
	c.mu.Lock()
	begins := writing && !c.writing
	c.writing = writing
	c.mu.Unlock()
	if begins {
		c.counter.mu.Lock()
		c.counter.trips[c.addr]++
		c.counter.mu.Unlock()
	}
}

func (c *tripConn) Write(p []byte) (int, error) {
	c.turn(true)
	return c.Conn.Write(p)
}

func (c *tripConn) Read(p []byte) (int, error) {
	c.turn(false)
	return c.Conn.Read(p)
}
