package lock

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// gateMost is how many flights of small calls are under way to one node. What
	// is called meanwhile leaves with the next one, together: a lone call never
	// waits, and no timer collects any.
	gateMost = 3
	// gatePatience is after which time a flight that was not answered holds up
	// nobody else any more.
	gatePatience = 10 * time.Millisecond
	// gateSize is how many resources the calls have, at most, that go through a
	// gate: more are a collection already.
	gateSize = 32
)

// Gates let the small calls to each node through. Of a cluster, busy ones only are
// kept.
type gates struct {
	mu     sync.Mutex
	byNode map[redis.UniversalClient]*gate
}

// A gate collects the small calls to one node while others are under way.
type gate struct {
	l       *Locker
	node    redis.UniversalClient
	aloft   int // flights that came through and have not let the next one through
	waiting []*call
}

// admit returns a flight of calls to a node; nil if they wait at its gate, to
// leave with others.
func (l *Locker) admit(node redis.UniversalClient, calls []*call) *flight {
	if !small(calls) || l.cfg.Replicas > 0 && !calls[0].script.lasting() { // nothing to wait for
		return &flight{l: l, calls: calls, node: node}
	}
	l.gates.mu.Lock()
	defer l.gates.mu.Unlock()
	g := l.gates.byNode[node]
	if g == nil {
		g = &gate{l: l, node: node}
		l.gates.byNode[node] = g
	}
	if g.aloft == gateMost {
		g.waiting = append(g.waiting, calls...)
		return nil
	}
	g.aloft++
	return &flight{l: l, calls: calls, node: node, gate: g}
}

// small tells whether the calls may travel with others.
func small(calls []*call) bool {
	n := 0
	for _, c := range calls {
		n += c.size()
		if c.kin == "" || n > gateSize {
			return false
		}
	}
	return true
}

// pass lets the calls through that wait at the flight's gate, once.
func (f *flight) pass() {
	if f.gate == nil || !f.passed.CompareAndSwap(false, true) {
		return
	}
	l := f.l
	l.gates.mu.Lock()
	defer l.gates.mu.Unlock()
	g := f.gate
	if len(g.waiting) > 0 {
		go l.fly(&flight{l: l, calls: g.waiting, node: g.node, gate: g})
		g.waiting = nil
		return
	}
	if g.aloft--; g.aloft == 0 && g.node != l.rdb { // a node of a cluster may go
		delete(l.gates.byNode, g.node)
	}
}
