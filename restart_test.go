package lockingworker_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/lockingworker/lockingworker/lock"
)

// Five replicas are restarted one after another, ten times over, while the one that has it works on one long job: each is
// told to end, and when it has, another is started in its place and waits. That uses up none of the five attempts, and in
// the end the job is done once. The lease is so long that nothing here comes of its end.
func TestRollingRestartsUseUpNoAttempt(t *testing.T) {
	t.Parallel()
	const replicas, restarts, maxAttempts = 5, 10, 5
	b := newBench(t, long, maxAttempts)
	at, waiting := startBehind(b, replicas-1)
	cs := append([]*contender{at}, waiting...)
	var last step // the last grant
	interrupted, waited := 0, 0
	for round := range restarts {
		for i := range cs {
			if round%2 == 1 {
				i = replicas - 1 - i // so that not only those are restarted who have just got it
			}
			c := cs[i]
			c.signal(syscall.SIGTERM)
			if c == at {
				interrupted++
				if s := c.await("cancelled"); fmt.Sprint(s.Is) != "[interrupted]" {
					t.Errorf("process %d: %+v", c.number, s)
				}
				checkResults(t, "interrupted", c)
				next, attempt := first(t, others(cs, c))
				if attempt.Attempt != 1 || attempt.Last || attempt.Fence <= last.Fence {
					t.Errorf("process %d: %+v after %+v", next.number, attempt, last)
				}
				at, last = next, attempt
			} else {
				waited++
				checkResults(t, "interrupted", c)
			}
			<-c.ended
			cs[i] = b.start(nil)
			if s := cs[i].await("locked"); s.Holder != fmt.Sprintf("process-%d", at.number) {
				t.Errorf("process %d is told that %q has the lock, and process %d has", cs[i].number, s.Holder, at.number)
			}
		}
	}
	if interrupted <= maxAttempts || waited <= maxAttempts {
		t.Errorf("%d were restarted at work, %d while they waited", interrupted, waited)
	}
	at.order("succeed")
	checkResults(t, "completed", at)
	checkResults(t, "completed-elsewhere", others(cs, at)...)

	infos, err := newLocker(t, b).Jobs().Get(t.Context(), lock.JobID{Key: b.spec.Key, Run: b.spec.Run})
	if err != nil {
		t.Fatal(err)
	}
	job := infos[0]
	if job.State != lock.JobDone || job.Attempt != 1 || job.Fence != last.Fence || len(job.Attempts) != interrupted+1 {
		t.Errorf("after %d interruptions: %+v", interrupted, job)
	}
	fence := int64(0)
	for i, a := range job.Attempts {
		end := "returned"
		if i == interrupted {
			end = "done"
		}
		if a.Number != 1 || a.End != end || a.Fence <= fence {
			t.Errorf("grant %d: %+v", i+1, a)
		}
		fence = a.Fence
	}
	t.Logf("%d processes; %d were restarted at work, %d while they waited", b.n, interrupted, waited)
}
