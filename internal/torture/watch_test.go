package torture

import (
	"sync"
	"sync/atomic"
	"time"
)

// A watch measures for how long the machine has no time for us: the controller is
// never stopped, so whatever it misses the others may have missed, Redis too. The
// bounds are so much longer; the report tells how much that was.
type watch struct {
	longest atomic.Int64 // ns
	over    chan struct{}
	ended   sync.WaitGroup
	once    sync.Once
}

func startWatch() *watch {
	w := &watch{over: make(chan struct{})}
	w.ended.Go(func() {
		const beat = 5 * time.Millisecond
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for last := time.Now(); ; {
			select {
			case <-ticker.C:
			case <-w.over:
				return
			}
			t := time.Now()
			w.longest.Store(max(w.longest.Load(), int64(t.Sub(last)-beat)))
			last = t
		}
	})
	return w
}

// stop returns the longest time for which nothing ran.
func (w *watch) stop() time.Duration {
	w.once.Do(func() { close(w.over) })
	w.ended.Wait()
	return time.Duration(w.longest.Load())
}
