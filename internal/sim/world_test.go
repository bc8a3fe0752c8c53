package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockingworker/lockingworker/worker"
)

// A world is one seed's: a server, processes, and what befalls them.
type world struct {
	t      *testing.T
	seed   uint64
	plan   plan
	began  time.Time
	length time.Duration // for which processes begin calls

	mu      sync.Mutex
	rng     *rand.Rand // of the network
	weather weather
	server  *redisServer
	ledger  *ledger
	slots   []*process
	born    int // processes
	dialled int // connections
	stopped bool

	calls     []*call
	atWork    map[string]*atWork
	idleness  map[string]*idleness
	calm      bool // no storm
	calmSince time.Time

	attempts, watched int
	ticks             int
	longest           time.Duration // that a lock stood free, of those watched
	outcomes          map[worker.Outcome]int
	befell            map[string]int
	violations        []violation
	trace             hash.Hash64
	log               io.Writer // of what happens; nil: of nothing
}

// A violation is something that was promised not to happen.
type violation struct {
	at    time.Duration
	check string
	text  string
}

func (v violation) String() string { return fmt.Sprintf("%v: %s: %s", v.at, v.check, v.text) }

const mostViolations = 20

// A settings says what to simulate, beside the seed.
type settings struct {
	workers int
	length  time.Duration
	log     io.Writer
}

// simulate lives through one seed.
func simulate(t *testing.T, seed uint64, s settings) *world {
	t.Helper()
	return inWorld(t, seed, s, (*world).live)
}

// inWorld makes a seed's world, has something done in it, and ends it.
func inWorld(t *testing.T, seed uint64, s settings, do func(*world)) *world {
	t.Helper()
	var w *world
	for range 2 { // empties every sync.Pool: go-redis keeps timers in one, and those of another bubble are deadly
		runtime.GC()
	}
	seedAll(t, seed)
	synctest.Test(t, func(t *testing.T) {
		w = &world{
			t: t, seed: seed, began: time.Now(), length: s.length, log: s.log,
			rng: rand.New(rand.NewPCG(seed, 0)), slots: make([]*process, s.workers),
			atWork: map[string]*atWork{}, idleness: map[string]*idleness{},
			outcomes: map[worker.Outcome]int{}, befell: map[string]int{}, trace: fnv.New64a(),
		}
		w.plan = newPlan(w.rng)
		w.ledger = newLedger(w)
		w.server = newServer(w)
		w.server.clock = time.Duration(w.rng.Int64N(int64(20*365*24*time.Hour))) - 10*time.Hour
		do(w)
		w.server.m.Close()
	})
	return w
}

// live starts the processes, has the faults befall them, and sees that all ends.
func (w *world) live() {
	w.weather, w.calm, w.calmSince = fair(w.rng), true, time.Now()
	for slot := range w.slots {
		w.spawn(slot)
	}
	var faults sync.WaitGroup
	for n, fault := range []func(*rand.Rand){w.crashes, w.pauses, w.storms} {
		faults.Go(func() { fault(rand.New(rand.NewPCG(w.seed, uint64(1e6+n)))) })
	}
	for !w.over() {
		w.tick()
	}
	faults.Wait()
	w.mu.Lock()
	w.weather, w.calm, w.calmSince = fair(w.rng), true, time.Now()
	for _, p := range w.slots {
		p.resume()
	}
	w.mu.Unlock()
	w.end()
}

// end waits until every call has returned by itself: nobody is stuck.
func (w *world) end() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, p := range w.slots {
			p.calls.Wait()
		}
	}()
	limit := time.Now().Add(10*time.Minute + time.Duration(len(w.slots)*w.plan.maxAttempts)*4*w.plan.lease)
	for done := false; !done; {
		w.tick()
		select {
		case <-ended:
			done = true
		default:
			done = time.Now().After(limit)
		}
	}
	w.mu.Lock()
	for _, c := range w.calls {
		w.violate("stuck", "process %d has waited for %q since %v", c.p.number, c.place, c.since.Sub(w.began))
	}
	w.stopped = true
	w.mu.Unlock()
	for _, p := range w.slots {
		p.close()
	}
	<-ended
	time.Sleep(time.Minute) // what is under way arrives
}

const tickTime = 50 * time.Millisecond

// tick lets some time pass, and looks.
func (w *world) tick() {
	time.Sleep(tickTime)
	synctest.Wait()
	w.tidy()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle()
}

// over tells whether nothing more is to begin. Once much is wrong, nothing is learnt
// from more of it.
func (w *world) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.began) >= w.length || len(w.violations) >= mostViolations
}

// after calls f, under the world's lock, when so much time has passed.
func (w *world) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	})
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) span(most time.Duration) time.Duration { return within(w.rng, most) }

func (w *world) count(what string) { w.befell[what]++ }

// violate notes a violation. The world's lock is held.
func (w *world) violate(check, format string, args ...any) {
	if len(w.violations) < mostViolations {
		w.violations = append(w.violations, violation{time.Since(w.began), check, fmt.Sprintf(format, args...)})
	}
	if w.log != nil {
		_, _ = fmt.Fprintf(w.log, "%12v VIOLATION %s: %s\n", time.Since(w.began), check, fmt.Sprintf(format, args...))
	}
}

// note adds a command to what is known of the seed, and to the log.
func (w *world) note(e *execution, reply []byte) {
	_ = binary.Write(w.trace, binary.LittleEndian, e.at)
	for _, a := range e.args {
		_, _ = io.WriteString(w.trace, a)
	}
	_, _ = w.trace.Write(reply)
	if w.log == nil {
		return
	}
	args := e.args
	if e.script != "" && len(args) > 15 {
		args = append([]string{e.script}, args[9:]...)
	}
	_, _ = fmt.Fprintf(w.log, "%12v process %d: %.400q → %.300q\n", time.Since(w.began), e.p.number, args, reply)
}

func (w *world) tell(format string, args ...any) {
	if w.log != nil {
		_, _ = fmt.Fprintf(w.log, "%12v "+format+"\n", append([]any{time.Since(w.began)}, args...)...)
	}
}

// The faults. Each has dice of its own, and ends when the time is over.

// rest waits for a time that is random, about so long.
func (w *world) rest(rng *rand.Rand, about time.Duration) bool {
	d := time.Duration(rng.ExpFloat64() * float64(about))
	left := w.length - time.Since(w.began)
	time.Sleep(min(d, left))
	return !w.over()
}

// crashes has processes die, and others take their place.
func (w *world) crashes(rng *rand.Rand) {
	for w.rest(rng, 4*time.Second) {
		slot := rng.IntN(len(w.slots))
		p := w.slots[slot]
		if rng.IntN(3) == 0 {
			w.tell("process %d is closed", p.number)
			p.close()
		} else {
			w.tell("process %d crashes", p.number)
			p.crash()
		}
		w.rest(rng, time.Second)
		w.spawn(slot)
	}
}

// pauses stops processes for a while.
func (w *world) pauses(rng *rand.Rand) {
	for w.rest(rng, 4*time.Second) {
		p := w.slots[rng.IntN(len(w.slots))]
		d := time.Duration(rng.ExpFloat64() * float64(w.plan.lease))
		w.tell("process %d is paused for %v", p.number, d)
		p.pause(d)
	}
}

var errServerCrashed = errors.New("the server has crashed")

// storms come and go, and in them the server crashes, too.
func (w *world) storms(rng *rand.Rand) {
	for w.rest(rng, 15*time.Second) {
		w.mu.Lock()
		w.weather, w.calm = storm(rng), false
		w.count("storms")
		w.mu.Unlock()
		w.tell("a storm: %+v", w.weather)
		for range rng.IntN(3) {
			w.rest(rng, 2*time.Second)
			w.mu.Lock()
			switch data := w.plan.losesData && rng.IntN(2) == 0; {
			case rng.IntN(3) == 0:
				w.count("scripts flushed")
				w.server.forget(false)
			case data:
				w.count("restarts without data")
				w.restart(rng, true)
			default:
				w.count("restarts")
				w.restart(rng, false)
			}
			w.mu.Unlock()
		}
		w.rest(rng, 3*time.Second)
		w.mu.Lock()
		w.weather, w.calm, w.calmSince = fair(rng), true, time.Now()
		w.mu.Unlock()
		w.tell("fair weather: %+v", w.weather)
	}
}

// restart has the server crash and come back. The world's lock is held, but for
// the time in between.
func (w *world) restart(rng *rand.Rand, data bool) {
	w.server.crash(errServerCrashed)
	w.server.forget(data)
	w.mu.Unlock()
	time.Sleep(within(rng, 3*time.Second))
	w.mu.Lock()
	w.server.start()
}

// String tells what a seed came to.
func (w *world) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %+v\n", w.seed, w.plan)
	fmt.Fprintf(&b, "  %d processes, %d grants, %d attempts, outcomes %v, longest free %v of %d\n", w.born, w.ledger.grants, w.attempts, w.outcomes, w.longest, w.watched)
	fmt.Fprintf(&b, "  %d commands, %d in scripts, %v\n  %v\n", w.server.counted.commands, w.server.counted.nested, w.server.counted.scripts, w.befell)
	for _, v := range w.violations {
		fmt.Fprintf(&b, "  %v\n", v)
	}
	return b.String()
}
