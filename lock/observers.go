package lock

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// observers tells Config.Observers of this Locker's own events, in order, on a
// goroutine of its own, so that a slow one delays nothing.
type observers struct {
	l *Locker

	mu      sync.Mutex
	waiting []Event
	missed  bool
	running bool
}

// observersQueue is how many events may wait.
const observersQueue = 1024

func newObservers(l *Locker) *observers { return &observers{l: l} }

// observe notes an event for the observers.
func (l *Locker) observe(e Event) {
	if len(l.cfg.Observers) == 0 {
		return
	}
	e.Time = time.Now()
	o := l.observers
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == observersQueue {
		o.waiting = o.waiting[1:]
		o.missed = true
	}
	o.waiting = append(o.waiting, e)
	if !o.running {
		o.running = l.loops.start(o.run)
	}
}

// observeAll notes an event for each result that succeeded.
func (l *Locker) observeAll(kind EventKind, rs Results, wait time.Duration) {
	if len(l.cfg.Observers) == 0 {
		return
	}
	for i := range rs {
		if r := &rs[i]; r.Err == nil {
			l.observe(Event{Kind: kind, Resource: r.Resource, Owner: r.Owner, Fence: r.Fence, Wait: wait})
		}
	}
}

// run tells what waits, and ends when nothing does.
func (o *observers) run() {
	for {
		o.mu.Lock()
		events, missed := o.waiting, o.missed
		o.waiting, o.missed = nil, false
		if len(events) == 0 && !missed {
			o.running = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if missed {
			o.tell(Event{Kind: EventMissed, Time: time.Now()})
		}
		for _, e := range events {
			o.tell(e)
		}
	}
}

func (o *observers) tell(e Event) {
	for _, f := range o.l.cfg.Observers {
		o.call(f, e)
	}
}

// call runs user code: a panic or Goexit in it is logged, and ends a goroutine of
// its own.
func (o *observers) call(f func(Event), e Event) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			p := recover()
			switch {
			case p != nil:
				o.l.cfg.Logger.Error("lock: an observer panicked", zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
			case !returned:
				o.l.cfg.Logger.Error("lock: an observer ended its goroutine", zap.ByteString("stack", debug.Stack()))
			}
		}()
		f(e)
		returned = true
	}()
	<-done
}
