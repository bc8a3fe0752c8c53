package lock

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// sweepEvery is how often a watching Locker has expired locks reported.
	sweepEvery = 200 * time.Millisecond
	// sweepMost is how many entries one sweep takes of a shard.
	sweepMost = "200"
	// arrival is how long a published event may be under way before it is missed.
	arrival = time.Second
	// watchBuffer is how many events may wait for one watcher.
	watchBuffer = 8192
)

// Watch returns the namespace's events from now on, of every process: expiries
// and the ends of jobs' attempts always, locks, unlocks and extensions if their
// Locker has Config.Publish. It returns once it is live. The sequence ends with
// ctx or the Locker. Of the kinds given (all, if none is), each event comes
// once, and in order for one resource; EventMissed is always among them, and
// says that some were lost before it.
//
// An expiry is reported when somebody asks for that lock, or by the next sweep:
// about 200 ms late. An attempt whose worker died ends with EventExpire alone; that
// it has failed is told by the record. A lock that was renewed, unlocked or has no expiry is not
// reported.
func (l *Locker) Watch(ctx context.Context, kinds ...EventKind) (iter.Seq[Event], error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	w := &watcher{kinds: kinds, ready: make(chan struct{}, 1)}
	l.wire.add(w)
	remove := sync.OnceFunc(func() { l.wire.remove(w) })
	err := l.wire.until(ctx, func() bool { return l.wire.err != nil || l.wire.sweepErr != nil || l.wire.events && w.based })
	if err == nil {
		err = l.wire.failure()
	}
	if err != nil {
		remove()
		return nil, err
	}
	forget := context.AfterFunc(ctx, remove)
	return func(yield func(Event) bool) {
		defer remove()
		defer forget()
		for {
			for _, e := range l.wire.drain(w) {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			select {
			case <-w.ready:
			case <-ctx.Done():
				return
			case <-l.closing.Done():
				return
			}
		}
	}, nil
}

// A watcher is one Watch that has not ended. All is under the wire's lock.
type watcher struct {
	kinds  []EventKind
	events []Event
	missed bool
	based  bool          // a sweep has told where the numbers of events stand
	ready  chan struct{} // something has come
}

func (w *watcher) put(e Event) {
	if e.Kind != EventMissed && len(w.kinds) > 0 && !slices.Contains(w.kinds, e.Kind) {
		return
	}
	if len(w.events) >= watchBuffer {
		w.missed = true
	} else {
		w.events = append(w.events, e)
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// drain takes what has come.
func (w *wire) drain(x *watcher) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := x.events
	x.events = nil
	if x.missed {
		x.missed = false
		events = append(events, Event{Time: time.Now(), Kind: EventMissed})
	}
	return events
}

func (w *wire) add(x *watcher) {
	w.mu.Lock()
	w.watch.all[x] = struct{}{}
	if !w.watch.sweeping {
		w.watch.sweeping = w.l.loops.start(w.sweep)
	}
	pubsub, subscribed := w.pubsub, w.events
	w.mu.Unlock()
	if pubsub != nil && !subscribed { // it may have to wait for the network
		w.l.loops.start(func() { _ = pubsub.Subscribe(w.l.closing, w.eventsChannel()) })
	}
}

func (w *wire) remove(x *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watch.all, x)
}

// watchers are those who watch through a wire.
type watchers struct {
	all      map[*watcher]struct{}
	sweeping bool
	last     map[string]int64   // number of the last event that came, by shard
	promised map[string]promise // what a sweep said should have come
}

// A promise is the number of a shard's last event, as a sweep told it.
type promise struct {
	event int64
	at    time.Duration
}

func newWatchers() watchers {
	return watchers{all: make(map[*watcher]struct{}), last: make(map[string]int64), promised: make(map[string]promise)}
}

func (ws *watchers) any() bool { return len(ws.all) > 0 }

func (ws *watchers) put(e Event) {
	for w := range ws.all {
		w.put(e)
	}
}

func (ws *watchers) missed() { ws.put(Event{Time: time.Now(), Kind: EventMissed}) }

// take reads a message and passes its events on. One that is not ours is ignored.
func (ws *watchers) take(payload string) {
	shard, first, events, ok := parseEvents(payload)
	if !ok {
		return
	}
	if last, known := ws.last[shard]; known && first > last+1 {
		ws.missed()
	}
	ws.last[shard] = max(ws.last[shard], first+int64(len(events))-1)
	for _, e := range events {
		ws.put(e)
	}
}

// check compares what a sweep says was published with what has come; before is
// what had come when the sweep was sent.
func (ws *watchers) check(shard string, event, before int64, now time.Duration) {
	last, known := ws.last[shard]
	p, pending := ws.promised[shard]
	switch {
	case !known || event < before: // the first word on this shard; or its data was lost
		if known {
			ws.missed()
		}
		ws.last[shard] = event
		delete(ws.promised, shard)
	case pending && last >= p.event:
		delete(ws.promised, shard)
	case pending && now-p.at > arrival:
		ws.missed()
		ws.last[shard] = p.event
		delete(ws.promised, shard)
	case !pending && last < event:
		ws.promised[shard] = promise{event, now}
	}
}

// sweep has expired locks reported, as long as somebody watches.
func (w *wire) sweep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if w.until(w.l.closing, func() bool { return w.events || !w.watch.any() }) != nil {
		return
	}
	for {
		select {
		case <-timer.C:
		case <-w.l.closing.Done():
			return
		}
		w.mu.Lock()
		if !w.watch.any() {
			w.watch.sweeping = false
			w.unwatch()
			w.mu.Unlock()
			return
		}
		subscribed, before := w.events, maps.Clone(w.watch.last)
		w.mu.Unlock()
		more := w.sweepOnce(subscribed, before)
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(sweepEvery)
		}
	}
}

// unwatch lets go of the events, when nobody watches. It runs under the lock.
func (w *wire) unwatch() {
	pubsub := w.pubsub
	w.events = false
	w.watch.last, w.watch.promised = make(map[string]int64), make(map[string]promise)
	if pubsub != nil { // it may have to wait for the network
		w.l.loops.start(func() { _ = pubsub.Unsubscribe(w.l.closing, w.eventsChannel()) })
	}
}

// sweepOnce sweeps every shard. It returns whether there is more to sweep. before
// are the numbers of the events that had come.
func (w *wire) sweepOnce(subscribed bool, before map[string]int64) bool {
	calls := make([]*call, len(w.l.shards))
	for i := range calls {
		calls[i] = &call{script: sweepScript, shard: i, args: []any{sweepMost}}
	}
	ctx, cancel := context.WithTimeout(w.l.closing, 2*sendTime)
	defer cancel()
	w.l.exec(ctx, calls...)
	more, based := false, true
	w.change(func() {
		w.sweepErr = nil
		for _, c := range calls {
			if err := w.l.outcome(ctx, c); err != nil {
				based = false
				if ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
					w.sweepErr = err
				}
				continue
			}
			event, ok := parseDigits(c.str(2))
			if ok && subscribed {
				number := w.l.shards[c.shard].number
				w.watch.check(number, event, before[number], w.l.now())
			}
			more = more || c.str(3) == "1"
		}
		for x := range w.watch.all {
			x.based = x.based || based && subscribed
		}
	})
	return more
}

// parseEvents reads a message of the events' channel: the shard, the number of
// the first event, and the events.
func parseEvents(payload string) (shard string, first int64, events []Event, ok bool) {
	p := recordParser{rest: payload, ok: true}
	shard, first = p.word(), p.number()
	n, stamp := p.number(), p.number()
	at := time.UnixMicro(stamp)
	for p.ok && p.rest != "" {
		e := Event{Time: at}
		kind := p.bytes(1)
		e.Resource, e.Owner = p.field(), p.field()
		fence, isFence := parseDigits(p.field())
		e.Fence, p.ok = fence, p.ok && isFence
		switch kind {
		case "l":
			e.Kind = EventLock
		case "u":
			e.Kind = EventUnlock
		case "e":
			e.Kind = EventExtend
		case "x":
			e.Kind = EventExpire
		case "j":
			e.Kind = EventJob
			id, isPlace := parsePlace(p.field())
			info, isRecord := parseRecord(id, p.field(), "", stamp)
			e.Job, p.ok = &info, p.ok && isPlace && isRecord
		default:
			p.ok = false
		}
		events = append(events, e)
	}
	return shard, first, events, p.ok && n == int64(len(events)) && n > 0
}

// field takes a length, a colon and so many bytes.
func (p *recordParser) field() string {
	length, rest, found := strings.Cut(p.rest, ":")
	n, ok := parseDigits(length)
	if p.ok = p.ok && found && ok; !p.ok {
		return ""
	}
	p.rest = rest
	return p.bytes(n)
}
