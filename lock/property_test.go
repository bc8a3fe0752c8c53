package lock_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockingworker/lockingworker/lock"
)

// TestPropertyLocksAreAsInTheModel makes random calls, at random together, while
// the clock moves, requests and replies are lost, callers leave, scripts and data
// are flushed; and compares each answer with what a simple model allows. For more
// of it: -rapid.checks=10000.
func TestPropertyLocksAreAsInTheModel(t *testing.T) {
	t.Parallel()
	property(t, embeddedLab(t))
}

func TestPropertyLocksAreAsInTheModelOnARealServer(t *testing.T) {
	t.Parallel()
	property(t, realLab(t))
}

func property(t *testing.T, b *lab) {
	rapid.Check(t, func(t *rapid.T) {
		e := begin(t, b)
		defer e.end()
		t.Repeat(map[string]func(*rapid.T){
			"":         e.look,
			"one":      e.one,
			"another":  e.one,
			"a third":  e.one,
			"several":  e.several,
			"leave":    e.leave,
			"wait":     e.wait,
			"await":    e.await,
			"elements": e.elements,
		})
	})
}

// An experiment is one case: a namespace, its model, and a Locker.
type experiment struct {
	b       *lab
	m       *model
	names   []string
	began   time.Time
	l       *lock.Locker
	s       *spoiler
	closing []func()
}

func begin(t *rapid.T, b *lab) *experiment {
	name := rapid.OneOf(rapid.SampledFrom(odd), rapid.StringN(1, 9, 36))
	e := &experiment{
		b: b, m: newModel(), began: time.Now(),
		names: rapid.SliceOfNDistinct(name, 2, 4, rapid.ID).Draw(t, "resources"),
	}
	if rapid.IntRange(0, 4).Draw(t, "many") == 0 { // enough for a group
		for i := range 70 {
			e.names = append(e.names, fmt.Sprintf("resource %d", i))
		}
	}
	e.loseData(t)
	e.newLocker(t)
	return e
}

func (e *experiment) end() {
	for _, end := range e.closing {
		end()
	}
}

func (e *experiment) newLocker(*rapid.T) {
	e.l, e.s = e.locker()
}

func (e *experiment) locker() (*lock.Locker, *spoiler) {
	l, s, end := e.b.locker()
	e.closing = append(e.closing, end)
	return l, s
}

// loseData empties the server. Its clock has moved on since the last fence.
func (e *experiment) loseData(t *rapid.T) {
	e.b.move(tick)
	e.m.now += tick
	fence := e.m.fence
	if err := e.b.admin.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	now := e.m.now
	e.m = newModel()
	e.m.now, e.m.fence = now, fence
}

// elements are what no call brings about.
func (e *experiment) elements(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		e.loseData(t)
	case 1:
		e.newLocker(t)
	case 2, 3:
		if err := e.b.admin.ScriptFlush(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	default:
		d := rapid.SampledFrom([]time.Duration{tick, tick, 2 * tick, 6 * tick, 2 * time.Hour}).Draw(t, "d")
		e.b.move(d)
		e.m.now += d
	}
}

var kinds = []func(*rapid.T, *model, []string) *deed{locking, locking, changing, changing, reading, claiming, claiming, ending, ending, looking, resetting}

func (e *experiment) draw(t *rapid.T, names []string) *deed {
	return kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "kind")](t, e.m, names)
}

// patience is longer than any call takes.
func (e *experiment) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// one makes one call; a few sends of it may be lost.
func (e *experiment) one(t *rapid.T) {
	e.make(t, e.draw(t, e.names))
}

// several makes calls for different resources at the same time.
func (e *experiment) several(t *rapid.T) {
	names := rapid.Permutation(e.names).Draw(t, "resources")
	n := rapid.IntRange(2, min(4, len(names))).Draw(t, "calls")
	var deeds []*deed
	for part := range slices.Chunk(names, (len(names)+n-1)/n) {
		deeds = append(deeds, e.draw(t, part))
	}
	e.make(t, deeds...)
}

func (e *experiment) make(t *rapid.T, deeds ...*deed) {
	spoils := rapid.SliceOfN(rapid.SampledFrom([]spoil{untouched, untouched, untouched, loseRequest, loseReply}), 0, 3).Draw(t, "lost")
	e.s.spoil(false, nil, spoils...)
	var all sync.WaitGroup
	for _, s := range deeds {
		all.Go(func() {
			ctx, cancel := e.patience()
			defer cancel()
			_ = s.call(ctx, e.l) // what came of it is in its results
		})
	}
	all.Wait()
	lost := e.s.spoil(false, nil)
	floor := e.m.fence
	largest := floor
	for _, s := range deeds {
		e.m.fence = floor // those made at the same time are in no order
		may := s.candidates(e.m)
		switch err := s.check(e.m, lost); {
		case errors.Is(err, errUnknown):
			e.find(t, s, may)
		case err != nil:
			t.Fatalf("%v; lost %v", err, spoils)
		}
		largest = max(largest, e.m.fence)
	}
	e.m.fence = largest
}

func (s *deed) candidates(m *model) map[lock.JobID][]*modelRun {
	if s.runs == nil {
		return nil
	}
	return s.runs(m)
}

// leave makes a call whose caller leaves when its first request, or reply, is lost.
func (e *experiment) leave(t *rapid.T) {
	s := e.draw(t, e.names)
	l, spoiler := e.locker()
	ctx, cancel := e.patience()
	defer cancel()
	if _, err := l.Owners(ctx, "x"); err != nil { // from now on it knows Redis's clock
		t.Fatal(err)
	}
	spoiler.spoil(true, cancel, rapid.SampledFrom([]spoil{loseRequest, loseReply}).Draw(t, "lost"))
	err := s.call(ctx, l)
	if err == nil {
		t.Fatalf("%s: no error, though nothing was answered", s.name)
	}
	if s.grant {
		spoiler.spoil(false, nil) // what it got can be given back
	}
	e.find(t, s, s.candidates(e.m))
}

// find looks up what has become of a deed.
func (e *experiment) find(t *rapid.T, s *deed, may map[lock.JobID][]*modelRun) {
	ctx, cancel := e.patience()
	defer cancel()
	var err error
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); pass(ctx, time.Millisecond) {
		if err = e.found(ctx, s, may); err == nil {
			return
		}
	}
	t.Fatalf("after a %s whose outcome was not told: %v", s.name, err)
}

func (e *experiment) found(ctx context.Context, s *deed, may map[lock.JobID][]*modelRun) error {
	names := s.names
	for id := range may {
		names = append(names, id.Key)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	rs, err := e.l.Owners(ctx, names...)
	if err != nil {
		return err
	}
	for _, r := range rs {
		h := e.m.held(r.Resource)
		switch {
		case e.m.shows(r):
		case h != nil && s.frees && r.Owner == "":
			e.m.release(r.Resource)
		case h != nil && s.extends && r.Fence == h.fence && r.Owner == h.owner && r.TTL > h.end-e.m.now:
			h.end = forever
			if r.TTL != lock.NoExpiry { // as it was set: half a tick after a tick
				h.end = e.m.now + tick/2 + (r.TTL + tick/2 - 1).Truncate(tick)
			}
		default:
			return fmt.Errorf("%+v, want %+v", r, h)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(may), compareIDs) {
		infos, err := e.l.Jobs().Get(ctx, id)
		if err != nil {
			return err
		}
		if at := slices.IndexFunc(may[id], func(run *modelRun) bool { return e.m.seen(id, run, infos[0]) }); at < 0 {
			return fmt.Errorf("%+v, want one of %+v", infos[0], may[id])
		} else if run := may[id][at]; run != nil {
			next := *run
			if next.fence == anyFence {
				next.fence = infos[0].Fence
				next.ended[next.fence] = lock.Returned
				delete(next.ended, anyFence)
			}
			e.m.runs[id] = &next
		} else {
			delete(e.m.runs, id)
		}
	}
	return nil
}

func compareIDs(a, b lock.JobID) int {
	return slices.Compare([]string{a.Key, a.Run}, []string{b.Key, b.Run})
}

// look compares everything with the model, after each deed.
func (e *experiment) look(t *rapid.T) {
	if e.b.runs && time.Since(e.began) > tick/3 {
		t.SkipNow() // the clock has run on for too long
	}
	ctx, cancel := e.patience()
	defer cancel()
	held := map[string]bool{}
	for r, err := range e.l.List(ctx, lock.Query{}) {
		if err != nil || !e.m.shows(r) || r.Owner == "" {
			t.Fatalf("List: %+v, %v, want %+v", r, err, e.m.held(r.Resource))
		}
		held[r.Resource] = true
	}
	for name := range e.m.locks {
		if e.m.held(name) != nil && !held[name] {
			t.Fatalf("%q is not listed: %+v", name, e.m.held(name))
		}
	}
	var infos []lock.JobInfo
	for info, err := range e.l.Jobs().List(ctx, lock.JobQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.m.runs[info.ID] == nil && info.State == lock.JobAbsent {
			continue
		}
		infos = append(infos, info)
	}
	for i := range infos {
		if infos[i].TTL == 0 { // List tells it of those that run only
			if h := e.m.held(infos[i].ID.Key); h != nil {
				infos[i].TTL = h.end - e.m.now
				if h.end == forever {
					infos[i].TTL = lock.NoExpiry
				}
			}
		}
	}
	if err := e.m.remembers(infos); err != nil {
		t.Fatal(err)
	}
	for id, run := range e.m.runs {
		if e.m.until(id, run) > e.m.now && !slices.ContainsFunc(infos, func(info lock.JobInfo) bool { return info.ID == id }) {
			t.Fatalf("%+v is forgotten: %+v", id, run)
		}
	}
}

// queue waits until so many wait.
func (e *experiment) queue(t *rapid.T, n int64) {
	for until := time.Now().Add(10 * time.Second); ; pass(context.Background(), 200*time.Microsecond) {
		if got := e.b.admin.ZCard(context.Background(), keysOf(e.b.ns, 0)[queueAt]).Val(); got == 2*n {
			return
		} else if time.Now().After(until) {
			t.Fatalf("%d members in the queue, want %d waiters", got, n)
		}
	}
}

// wait has a second Locker wait for what is held; it leaves, or is handed the lock.
func (e *experiment) wait(t *rapid.T) {
	name := some(t, e.names)[0]
	h := e.m.held(name)
	if h == nil {
		t.SkipNow() // nobody holds it
	}
	ctx, cancel := e.patience()
	defer cancel()
	other, _ := e.locker()
	ttl := jobLeases.Draw(t, "lease")
	done := make(chan struct{})
	var lease *lock.Lease
	var err error
	go func() {
		defer close(done)
		lease, err = other.Hold(ctx, lock.Claim{Resource: name, Owner: "waiter", TTL: ttl})
	}()
	e.queue(t, 1)
	if rapid.Bool().Draw(t, "leaves") {
		cancel()
		<-done
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("the waiter who left got %v, %v", lease, err)
		}
		e.queue(t, 0)
		return
	}
	c := h.claim
	c.TTL = 0
	if _, err := e.l.Unlock(ctx, c); err != nil {
		t.Fatalf("Unlock of %+v: %v", c, err)
	}
	<-done
	if err != nil || lease.Owner() != "waiter" || lease.Fence() <= e.m.fence {
		t.Fatalf("the waiter got %+v, %v", lease, err)
	}
	lease.Lapse()
	e.m.fence = lease.Fence()
	e.m.locks[name] = &modelLock{
		owner: "waiter", fence: lease.Fence(), end: e.m.after(ttl), past: h.claim,
		claim: lock.Claim{Resource: name, Owner: "waiter", Fence: lease.Fence()},
	}
	e.queue(t, 0)
}

// await has a second Locker wait for a run that is worked on, which then ends.
func (e *experiment) await(t *rapid.T) {
	var ids []lock.JobID
	for id, run := range e.m.runs {
		if e.m.holds(id, run) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.SkipNow()
	}
	slices.SortFunc(ids, compareIDs)
	id := rapid.SampledFrom(ids).Draw(t, "run")
	run := e.m.runs[id]
	ctx, cancel := e.patience()
	defer cancel()
	other, _ := e.locker()
	c := lock.JobClaim{ID: id, Owner: "waiter", TTL: jobLeases.Draw(t, "lease"), Retention: time.Hour, MaxAttempts: run.max}
	done := make(chan struct{})
	var lease *lock.JobLease
	var r lock.JobResult
	var err error
	go func() {
		defer close(done)
		lease, r, err = other.Jobs().Await(ctx, c)
	}()
	e.queue(t, 1)
	x := lock.Settlement{Grant: lock.Result{Resource: id.Key, Fence: run.fence}, ID: id, End: lockEnds.Draw(t, "end"), Retention: time.Hour}
	if _, err := e.l.Jobs().Settle(ctx, x); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	e.m.runs[id] = e.m.settled(run, x)
	e.m.release(id.Key)
	<-done
	if !errors.Is(err, r.Grant.Err) {
		t.Fatalf("the waiter got %v and %+v", err, r)
	}
	if lease != nil {
		lease.Lapse()
	}
	if err := e.m.answers(c, r, e.m.fence); err != nil {
		t.Fatalf("after %v the waiter got %v", x.End, err)
	}
	e.queue(t, 0)
}
