package lock

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// wireSilence is after how much silence the subscription is pinged, and after
// how much more it is taken for dead.
const wireSilence = 3 * time.Second

// A wire is the one Pub/Sub connection of a Locker: it brings wake-ups and, for
// those who watch, events. What it loses, timers make good.
type wire struct {
	l *Locker

	mu      sync.Mutex
	running bool
	isLive  bool
	pubsub  *redis.PubSub
	changed chan struct{} // closed when isLive, or what is subscribed, has changed
	events  bool          // the events' channel is subscribed and confirmed
	err     error         // why it will not do: no rights, say
	// why sweeps will not do: another number of shards, say
	sweepErr error
	watch    watchers
}

func newWire(l *Locker) *wire {
	return &wire{l: l, changed: make(chan struct{}), watch: newWatchers()}
}

func (w *wire) wakeChannel() string   { return w.l.cfg.Namespace + ":wake:" + w.l.id }
func (w *wire) eventsChannel() string { return w.l.cfg.Namespace + ":events" }

// live tells whether wake-ups arrive.
func (w *wire) live() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isLive
}

// failure returns why the wire will not do, if it is so.
func (w *wire) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.sweepErr)
}

// open starts the wire, and waits until wake-ups arrive; a second at most, since
// timers serve as well. It returns why they never will: no rights, say.
func (w *wire) open(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	_ = w.until(bounded, func() bool { return w.isLive || w.err != nil })
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// until starts the wire and waits until ok, which is called under the lock.
func (w *wire) until(ctx context.Context, ok func() bool) error {
	for {
		w.mu.Lock()
		if !w.running {
			w.running = w.l.loops.start(w.run)
		}
		if ok() {
			w.mu.Unlock()
			return nil
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.l.closing.Done():
			return ErrClosed
		}
	}
}

func (w *wire) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// run keeps the subscription until the Locker closes.
func (w *wire) run() {
	pause := newPause()
	for w.l.closing.Err() == nil {
		err := w.listen(pause.Reset)
		if w.l.closing.Err() != nil {
			return
		}
		w.l.cfg.Logger.Debug("lock: subscription lost", zap.Error(err))
		if err = w.l.plainError(err); !errors.Is(err, ErrUnavailable) {
			w.change(func() { w.err = err })
		}
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-w.l.closing.Done():
		}
		t.Stop()
	}
}

// listen subscribes and takes messages until the connection breaks. confirmed is
// called when the subscription lives.
func (w *wire) listen(confirmed func()) error {
	pubsub := w.l.rdb.Subscribe(w.l.closing, w.wakeChannel())
	defer func() { _ = pubsub.Close() }()
	stop := context.AfterFunc(w.l.closing, func() { _ = pubsub.Close() })
	defer stop()
	w.mu.Lock()
	w.pubsub = pubsub
	watched := w.watch.any()
	w.mu.Unlock()
	defer w.change(func() { w.isLive, w.events, w.pubsub = false, false, nil })
	if watched {
		if err := pubsub.Subscribe(w.l.closing, w.eventsChannel()); err != nil {
			return err
		}
	}
	pinged := false
	for {
		msg, err := pubsub.ReceiveTimeout(w.l.closing, wireSilence)
		var timeout net.Error
		switch {
		case err == nil:
			pinged = false
		case errors.As(err, &timeout) && timeout.Timeout() && !pinged:
			pinged = true
			if err := pubsub.Ping(w.l.closing); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		switch m := msg.(type) {
		case *redis.Subscription:
			if m.Kind != "subscribe" {
				if w.unsubscribed(m.Channel) {
					if err := pubsub.Subscribe(w.l.closing, m.Channel); err != nil {
						return err
					}
				}
				continue
			}
			confirmed()
			w.change(func() { w.err = nil })
			if m.Channel == w.wakeChannel() {
				w.change(func() { w.isLive = true })
				w.l.queue.wake("") // messages may have been lost before
			} else {
				w.change(func() { w.events = true })
			}
		case *redis.Message:
			w.receive(m)
		}
	}
}

// unsubscribed notes that a channel is, and tells whether it is wanted again.
func (w *wire) unsubscribed(channel string) bool {
	again := false
	w.change(func() {
		if channel == w.eventsChannel() {
			w.events, again = false, w.watch.any()
		}
	})
	return again
}

// receive takes one message. Anybody may have sent it: it can wake a waiter, no more.
func (w *wire) receive(m *redis.Message) {
	switch m.Channel {
	case w.wakeChannel():
		if m.Payload != "" {
			w.l.queue.wake(m.Payload)
		}
	case w.eventsChannel():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.watch.take(m.Payload)
	}
}
