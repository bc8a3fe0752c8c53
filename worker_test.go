package lockingworker_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// A lease time that no test waits for, and one that some do; it outlives a busy machine's pauses.
const (
	long  = 5 * time.Minute
	short = 2 * time.Second
)

// startAll starts processes that contend for one job.
func startAll(b *bench, n int) []*contender {
	b.t.Helper()
	cs := make([]*contender, n)
	for i := range cs {
		cs[i] = b.start(nil)
	}
	return cs
}

// startBehind starts processes that wait behind one that works.
func startBehind(b *bench, n int) (at *contender, waiting []*contender) {
	b.t.Helper()
	at = b.start(nil)
	at.await("acquired")
	waiting = startAll(b, n)
	for _, c := range waiting {
		if s := c.await("locked"); s.Holder != fmt.Sprintf("process-%d", at.number) {
			b.t.Fatalf("process %d is told that %q has the lock", c.number, s.Holder)
		}
	}
	return at, waiting
}

// checkResults fails the test unless each process returns with this outcome, and did nothing before.
func checkResults(t *testing.T, outcome string, cs ...*contender) {
	t.Helper()
	for _, c := range cs {
		if s := c.result(); s.Holder != outcome {
			t.Errorf("process %d: %+v, want %s", c.number, s, outcome)
		}
	}
}

func TestOneProcessDoesTheWork(t *testing.T) {
	t.Parallel()
	cs := startAll(newBench(t, long, 5), 4)
	winner, attempt := first(t, cs)
	if attempt.Attempt != 1 || attempt.Last {
		t.Errorf("%+v", attempt)
	}
	winner.order("succeed")
	checkResults(t, "completed", winner)
	checkResults(t, "completed-elsewhere", others(cs, winner)...)
}

func TestFailingProcessHandsOver(t *testing.T) {
	t.Parallel()
	failing, waiting := startBehind(newBench(t, long, 5), 3)
	all := slices.Concat(waiting, []*contender{failing})
	failing.order("fail disk full")
	next, attempt := first(t, all)
	if next == failing || attempt.Attempt != 2 {
		t.Errorf("process %d: %+v", next.number, attempt)
	}
	next.order("succeed")
	checkResults(t, "completed", next)
	checkResults(t, "completed-elsewhere", others(all, next)...)
}

// The one that failed stands behind those who waited.
func TestAttemptsGoRound(t *testing.T) {
	t.Parallel()
	at, waiting := startBehind(newBench(t, long, 100), 2)
	all := slices.Concat(waiting, []*contender{at})
	var turns []int
	for range 6 {
		turns = append(turns, at.number)
		at.order("fail again")
		next, _ := first(t, others(all, at))
		at.await("locked") // it waits again
		at = next
	}
	for i := 3; i < len(turns); i++ {
		if turns[i] != turns[i-3] {
			t.Fatalf("turns: %v", turns)
		}
	}
	at.order("succeed")
	checkResults(t, "completed", at)
}

func TestKilledProcessIsReplaced(t *testing.T) {
	t.Parallel()
	killed, waiting := startBehind(newBench(t, short, 5), 2)
	killed.kill()
	next, attempt := first(t, waiting)
	if attempt.Attempt != 2 {
		t.Errorf("process %d: %+v", next.number, attempt)
	}
	next.order("succeed")
	checkResults(t, "completed", next)
	checkResults(t, "completed-elsewhere", others(waiting, next)...)
}

// A crash counts as well as a failure does.
func TestMaximumEndsItInAllProcesses(t *testing.T) {
	t.Parallel()
	b := newBench(t, short, 3)
	killed, waiting := startBehind(b, 3)
	killed.kill()
	second, _ := first(t, waiting)
	second.order("fail disk full")
	third, attempt := first(t, waiting)
	if attempt.Attempt != 3 || !attempt.Last {
		t.Errorf("process %d: %+v", third.number, attempt)
	}
	third.order("fail disk still full")
	late := b.start(nil)
	for _, c := range slices.Concat(waiting, []*contender{late}) {
		s := c.result()
		if s.Holder != "exhausted" || fmt.Sprint(s.Is) != "[exhausted]" || s.Attempt != 3 || s.Text != "disk still full" {
			t.Errorf("process %d: %+v", c.number, s)
		}
	}
}

// Nobody is left who could tell: the next claim finds the maximum reached.
func TestMaximumReachedByCrash(t *testing.T) {
	t.Parallel()
	killed, waiting := startBehind(newBench(t, short, 1), 2)
	killed.kill()
	for _, c := range waiting {
		if s := c.result(); s.Holder != "exhausted" || s.Attempt != 1 || s.Text != "" {
			t.Errorf("process %d: %+v", c.number, s)
		}
	}
}

func TestLateProcessLearnsThatItIsDone(t *testing.T) {
	t.Parallel()
	b := newBench(t, long, 5)
	c := b.start(nil)
	c.await("acquired")
	c.order("succeed")
	checkResults(t, "completed", c)
	<-c.ended
	checkResults(t, "completed-elsewhere", b.start(nil))
	checkResults(t, "completed-elsewhere", b.start(nil)) // telling somebody forgets nothing
}

// A rolling restart: each process is told to end while it works, and no attempt is used up.
func TestInterruptedAttemptsAreNotCounted(t *testing.T) {
	t.Parallel()
	at, waiting := startBehind(newBench(t, long, 1), 3)
	for len(waiting) > 0 {
		at.signal(syscall.SIGTERM)
		if s := at.await("cancelled"); fmt.Sprint(s.Is) != "[interrupted]" {
			t.Errorf("process %d: %+v", at.number, s)
		}
		checkResults(t, "interrupted", at)
		var attempt step
		at, attempt = first(t, waiting)
		if attempt.Attempt != 1 || !attempt.Last {
			t.Errorf("process %d: %+v", at.number, attempt)
		}
		waiting = others(waiting, at)
	}
	at.order("succeed")
	checkResults(t, "completed", at)
}

func TestRunsOfOneKeyExcludeEachOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, long, 5)
	monday := b.start(func(s *spec) { s.Run = "monday" })
	monday.await("acquired")
	tuesday := b.start(func(s *spec) { s.Run = "tuesday" })
	if s := tuesday.await("locked"); s.Holder != "process-1" {
		t.Errorf("%+v", s)
	}
	locker := newLocker(t, b)
	id := lock.JobID{Key: b.spec.Key, Run: "tuesday"}
	if jobs, err := locker.Jobs().Get(t.Context(), id); err != nil || jobs[0].State != lock.JobAbsent {
		t.Errorf("tuesday while monday works: %+v, %v", jobs[0], err)
	}
	monday.order("succeed")
	checkResults(t, "completed", monday)
	if s := tuesday.await("acquired"); s.Attempt != 1 {
		t.Errorf("%+v", s)
	}
	tuesday.order("succeed")
	checkResults(t, "completed", tuesday)
}

// newLocker makes a Locker in the test's own process, which looks at what the others do.
func newLocker(t *testing.T, b *bench) *lock.Locker {
	t.Helper()
	l, err := lock.New(b.server.Client(t), lock.Config{Namespace: b.spec.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
