package lock_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestObserversAreToldInOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	events := make(chan lock.Event, 100)
	second := make(chan lock.Event, 100)
	l := newLocker(t, s, lock.Config{Observers: []func(lock.Event){
		func(e lock.Event) { events <- e },
		func(e lock.Event) { second <- e },
	}})
	before := time.Now()
	rs := must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "a", "b")...))
	must[lock.Results](t)(l.Extend(ctx, rs.Claims()[0]))
	must[lock.Results](t)(l.Unlock(ctx, rs.Claims()[0]))
	must[lock.Results](t)(l.ForceUnlock(ctx, "b"))
	_, err := l.Unlock(ctx, lock.Claims("me", "free")...) // nothing happened: no event
	wantErr(t, err, lock.ErrNotHeld)
	le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "h", Owner: "me"}))
	wantErr(t, le.Release(ctx), nil)
	for i, want := range []lock.Event{
		{Kind: lock.EventLock, Resource: "a", Owner: "me", Fence: rs[0].Fence},
		{Kind: lock.EventLock, Resource: "b", Owner: "me", Fence: rs[1].Fence},
		{Kind: lock.EventExtend, Resource: "a", Owner: "me", Fence: rs[0].Fence},
		{Kind: lock.EventUnlock, Resource: "a", Owner: "me", Fence: rs[0].Fence},
		{Kind: lock.EventUnlock, Resource: "b"},
		{Kind: lock.EventLock, Resource: "h", Owner: "me", Fence: le.Fence()},
		{Kind: lock.EventUnlock, Resource: "h", Owner: "me", Fence: le.Fence()},
	} {
		for _, c := range []chan lock.Event{events, second} {
			e := receive(t, "an event", c)
			if e.Time.Before(before) || e.Time.After(time.Now()) {
				t.Errorf("event %d is of %v", i, e.Time)
			}
			if e.Kind == lock.EventLock && e.Wait <= 0 {
				t.Errorf("event %d waited %v", i, e.Wait)
			}
			if kept := e.Held > 0; kept != (e.Kind == lock.EventUnlock && e.Resource == "h") {
				t.Errorf("event %+v", e)
			}
			e.Time, e.Wait, e.Held = time.Time{}, 0, 0
			if e != want {
				t.Errorf("event %d is %+v, want %+v", i, e, want)
			}
		}
	}
}

func TestObserversMayPanicAndGoexit(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	core, logs := observer.New(zap.ErrorLevel)
	events := make(chan lock.Event, 10)
	l := newLocker(t, s, lock.Config{Logger: zap.New(core), Observers: []func(lock.Event){
		func(lock.Event) { panic("ouch") },
		func(lock.Event) { runtime.Goexit() },
		func(e lock.Event) { events <- e },
	}})
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claims("me", "a", "b")...))
	for _, want := range []string{"a", "b"} {
		if e := receive(t, "an event", events); e.Resource != want {
			t.Errorf("event %+v", e)
		}
	}
	entries := logs.All()
	if len(entries) != 4 || entries[0].ContextMap()["panic"] != "ouch" {
		t.Fatalf("%d entries logged, want two for each event", len(entries))
	}
	for _, e := range entries {
		if e.ContextMap()["stack"] == "" {
			t.Errorf("%q has no stack", e.Message)
		}
	}
}

func TestASlowObserverDelaysNothingAndIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Any)
	ctx := bounded(t)
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	events := make(chan lock.Event, 2000)
	l := newLocker(t, s, lock.Config{TTL: time.Second, Observers: []func(lock.Event){func(e lock.Event) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-leave
		events <- e
	}}})
	le := must[*lock.Lease](t)(l.Hold(ctx, lock.Claim{Resource: "held", TTL: lock.NoExpiry}))
	receive(t, "the first event", entered)
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", names("r", 1500)...)...)) // 476 too many
	if le.Context().Err() != nil {
		t.Errorf("the lease ended: %v", errors.Join(le.Context().Err()))
	}
	close(leave)
	if e := receive(t, "the first event", events); e.Resource != "held" {
		t.Errorf("first %+v", e)
	}
	if e := receive(t, "EventMissed", events); e.Kind != lock.EventMissed {
		t.Fatalf("then %+v, want EventMissed", e)
	}
	for _, name := range names("r", 1500)[476:] {
		if e := receive(t, "an event", events); e.Kind != lock.EventLock || e.Resource != name {
			t.Fatalf("got %+v, want the lock of %q", e, name)
		}
	}
}
