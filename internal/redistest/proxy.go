package redistest

import (
	"context"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and one server, passes on what they say, and does harm when told to. It listens on
// loopback, understands RESP2 and RESP3, and pairs every reply with its command. Faults take effect for what arrives after
// the call that sets them, on all connections, present and future. It does not understand TLS, MONITOR, CLIENT REPLY OFF
// and SKIP, or replication.
//
// Clients are sent through it by their Addr option, those of a [Cluster] by [Dialer].
type Proxy struct {
	t        testing.TB
	listener net.Listener
	target   string
	running  sync.WaitGroup
	requests gate
	replies  gate

	mu          sync.Mutex
	closed      bool
	links       map[*link]struct{}
	refuse      bool
	delay       time.Duration             // of replies
	hold        time.Duration             // of requests
	messages    func(channel string) bool // nil: none is dropped
	dropped     int
	losses      []*Loss
	roundTrips  int
	commands    map[string]int
	connections int
}

// NewProxy returns a proxy in front of the server at target, which ends with t. The server need not run yet.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatalf("redistest: proxy: %v", err)
	}
	p := &Proxy{
		t: t, listener: listener, target: target,
		links: map[*link]struct{}{}, commands: map[string]int{},
	}
	p.running.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// Addr returns host and port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target returns host and port of the server behind.
func (p *Proxy) Target() string { return p.target }

// RoundTrips returns how many batches of commands were sent, on all connections together. A batch begins with a command
// that is sent while no reply of its connection is outstanding; what is pipelined behind it belongs to it. The greeting of
// a new connection (HELLO and so on) counts as well: warm up, then ResetCounters.
func (p *Proxy) RoundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roundTrips
}

// Commands returns how many commands were sent, by name in lower case.
func (p *Proxy) Commands() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.commands)
}

// Connections returns how many connections were accepted, those refused not counted.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections
}

// ResetCounters sets all counters to zero, that of dropped messages included.
func (p *Proxy) ResetCounters() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roundTrips, p.dropped, p.connections = 0, 0, 0
	clear(p.commands)
}

// Proxies returns a proxy for each node of the cluster, in the order of [Cluster.Nodes].
func (c *Cluster) Proxies(t testing.TB) []*Proxy {
	t.Helper()
	var proxies []*Proxy
	for _, n := range c.Nodes() {
		proxies = append(proxies, NewProxy(t, n.Addr()))
	}
	return proxies
}

// Dialer returns a Dialer for [redis.Options] or [redis.ClusterOptions] that connects to the proxy in front of an address,
// or to the address itself if it has none. A cluster's clients need it: they learn the nodes' own addresses.
func Dialer(proxies ...*Proxy) func(ctx context.Context, network, addr string) (net.Conn, error) {
	through := map[string]string{}
	for _, p := range proxies {
		through[p.Target()] = p.Addr()
	}
	var dialer net.Dialer
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if proxy, found := through[addr]; found {
			addr = proxy
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

func (p *Proxy) accept() {
	defer p.running.Done()
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		client := conn.(*net.TCPConn)
		l := newLink(p, client)
		if !p.admit(l) {
			reset(client)
			continue
		}
		go l.run()
	}
}

// admit counts the connection in, unless it is to be refused.
func (p *Proxy) admit(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.links[l] = struct{}{}
	p.connections++
	p.running.Add(1)
	return true
}

func (p *Proxy) leave(l *link) {
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	p.running.Done()
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

// count counts one command, and a round trip if it begins one.
func (p *Proxy) count(name string, begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands[strings.ToLower(name)]++
	if begins {
		p.roundTrips++
	}
}

// reset closes a connection so that its peer sees an error rather than an orderly end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
