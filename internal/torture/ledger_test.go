package torture

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A ledger is what the work writes to: it lives in the controller, and refuses a
// fence that is smaller than one that it has seen. It also tells the controller
// who works at present.
type ledger struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	entries []entry
	highest map[string]int64 // by key
	workers map[string]entry // by key: who wrote last with the highest fence
}

// An entry is one write, refused or not.
type entry struct {
	At      int64
	Process int
	Key     string
	Fence   int64 `json:",string"`
	Refused bool  `json:",omitempty"`
}

func newLedger() (*ledger, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &ledger{listener: listener, conns: map[net.Conn]bool{}, highest: map[string]int64{}, workers: map[string]entry{}}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *ledger) address() string { return l.listener.Addr().String() }

func (l *ledger) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *ledger) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns[conn] = true
		l.mu.Unlock()
		l.wg.Go(func() { l.serve(conn) })
	}
}

func (l *ledger) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	lines, answers := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var e entry
		if lines.Decode(&e) != nil {
			return
		}
		if answers.Encode(l.write(e)) != nil {
			return
		}
	}
}

func (l *ledger) write(e entry) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.At = now()
	e.Refused = e.Fence < l.highest[e.Key]
	if !e.Refused {
		l.highest[e.Key], l.workers[e.Key] = e.Fence, e
	}
	l.entries = append(l.entries, e)
	return e
}

// holders returns which processes wrote last, with the highest fence of their key.
func (l *ledger) holders() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ps []int
	for _, e := range l.workers {
		ps = append(ps, e.Process)
	}
	return ps
}

func (l *ledger) all() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]entry(nil), l.entries...)
}

// A ledgerClient is the ledger as a process sees it. If it is gone, so is the
// controller, and the process ends.
type ledgerClient struct {
	process int
	mu      sync.Mutex
	lines   *json.Encoder
	answers *json.Decoder
}

func dialLedger(address string, process int) (*ledgerClient, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &ledgerClient{process: process, lines: json.NewEncoder(conn), answers: json.NewDecoder(conn)}, nil
}

func (c *ledgerClient) write(key string, fence int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := entry{Process: c.process, Key: key, Fence: fence}
	err := c.lines.Encode(e)
	if err == nil {
		err = c.answers.Decode(&e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the ledger is gone:", err)
		os.Exit(1)
	}
}

// checkLedger finds fences of two attempts (G3), and writes that the ledger
// refused though no later grant was known: they are what it is there for, and
// are counted.
func checkLedger(entries []entry, v *verdict) {
	type mark struct {
		key   string
		fence int64
	}
	writers := map[mark]int{}
	for _, e := range entries {
		m := mark{e.Key, e.Fence}
		if p, ok := writers[m]; ok && p != e.Process {
			v.violate("ledger G3", e.At, "%q: processes %d and %d both write with fence %d", e.Key, p, e.Process, e.Fence)
		}
		writers[m] = e.Process
		if e.Refused {
			v.stale++
		}
	}
}
