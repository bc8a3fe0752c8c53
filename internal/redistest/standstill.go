package redistest

import (
	"sync"
	"testing"
	"time"
)

// Standstill returns what tells the longest time since for which this process did not run, which is no fault of what it tests:
// a bound is so much longer. It can be asked once.
func Standstill(t testing.TB) func() time.Duration {
	const beat = 5 * time.Millisecond
	var still time.Duration
	stop, ended := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() {
		close(stop)
		<-ended
	})
	t.Cleanup(end)
	go func() {
		defer close(ended)
		for {
			last := time.Now()
			select {
			case <-stop:
				return
			case <-time.After(beat):
			}
			still = max(still, time.Since(last)-beat)
		}
	}()
	return func() time.Duration {
		time.Sleep(2 * beat) // what has just happened is noticed
		end()
		return still
	}
}
