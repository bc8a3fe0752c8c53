package redistest

import "sync"

// gate lets pass or holds back. The zero gate is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil: open; else closed when it opens
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// wait returns true when the gate is open, or false when quit is closed first.
func (g *gate) wait(quit <-chan struct{}) bool {
	for {
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		if opened == nil {
			return true
		}
		select {
		case <-opened:
		case <-quit:
			return false
		}
	}
}
