package lock

import (
	"sync"
	"time"
)

// A watchdog keeps slow sends from holding up others: those at a flight's gate
// when its patience is over, and the flight's own calls when its bound is. One
// timer is for all flights, since one for each would wake a thread of the Go
// runtime with every call.
type watchdog struct {
	mu      sync.Mutex
	flights []*flight
	timer   *time.Timer
	at      time.Time // when the timer fires; zero: it does not
}

// watch begins to look after a flight that is about to be sent.
func (w *watchdog) watch(f *flight) {
	now, bound := time.Now(), f.bound()
	f.over = now.Add(bound)
	f.due = f.over
	if f.gate != nil && bound > gatePatience {
		f.due = now.Add(gatePatience)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f.slot = len(w.flights)
	w.flights = append(w.flights, f)
	if w.at.IsZero() || f.due.Before(w.at) {
		w.wakeAt(now, f.due)
	}
}

// forget ends that. The timer is left as it is: it is needed again soon.
func (w *watchdog) forget(f *flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(f)
}

func (w *watchdog) drop(f *flight) {
	if f.slot >= len(w.flights) || w.flights[f.slot] != f {
		return // dropped before
	}
	last := len(w.flights) - 1
	w.flights[f.slot] = w.flights[last]
	w.flights[f.slot].slot = f.slot
	w.flights[last] = nil
	w.flights = w.flights[:last]
}

func (w *watchdog) wakeAt(now, at time.Time) {
	w.at = at
	if w.timer == nil {
		w.timer = time.AfterFunc(at.Sub(now), w.look)
		return
	}
	w.timer.Reset(at.Sub(now))
}

// look lets pass, or takes over, what is due.
func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, next := time.Now(), time.Time{}
	for i := len(w.flights) - 1; i >= 0; i-- { // from the end, since drop moves the last one
		f := w.flights[i]
		switch {
		case !now.Before(f.over):
			w.drop(f)
			go f.overdue()
			continue
		case !now.Before(f.due):
			f.due = f.over
			f.pass()
		}
		if next.IsZero() || f.due.Before(next) {
			next = f.due
		}
	}
	w.at = next
	if !next.IsZero() {
		w.wakeAt(now, next)
	}
}
