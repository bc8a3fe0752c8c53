package torture

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

var holdersFlag = flag.Int("holders", 10, "how many holders TestKilledHoldersAreReplaced kills")

const (
	victimVariable = "LOCKINGWORKER_VICTIM" // makes the test binary a victim; it holds the spec
	victimLease    = time.Second
	inLine         = 2 // victims that wait for each job
)

// A line is the victims of one job, as the controller sees them.
type line struct {
	t         *testing.T
	spec      victimSpec
	rng       *rand.Rand
	steps     chan victim
	stdins    map[int]io.WriteCloser
	processes map[int]*exec.Cmd
	waiting   map[int]int64 // victims that wait, and when they were told so
	dead      map[int]int64 // of them, those that were killed
	kills     []kill
	wg        sync.WaitGroup
	numbers   func() int
}

// A victim's step, with who it is.
type victim struct {
	number int
	victimStep
}

// A kill is a holder's death, and who took over.
type kill struct {
	at, fence, next int64 // the fence of the holder, and of the next one
	dead            int   // dead waiters that were ahead of that one
}

// TestKilledHoldersAreReplaced kills those who work, one after another, and now and
// then one who waits as well: each must be replaced within the bound of G6, and the
// attempts counted must be the fences that Redis has granted.
func TestKilledHoldersAreReplaced(t *testing.T) {
	if os.Getenv("REDISTEST") == "docker" {
		t.Skip("reads the server's append-only file: needs a server whose folder is on this machine")
	}
	server := redistest.Start(t, redistest.Own, redistest.AppendOnly(), redistest.User(admin+" on >"+admin+" allkeys allchannels allcommands"))
	rdb := server.Client(t)
	saw(rdb)
	const namespace = "kills"
	m, err := startMonitor(server.Addr(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	watch := startWatch()
	began := time.Now()

	jobs := min(8, (*holdersFlag+1)/2)
	var mu sync.Mutex
	started := 0
	lines := make([]*line, jobs)
	var all sync.WaitGroup
	for n := range lines {
		kills := *holdersFlag / jobs
		if n < *holdersFlag%jobs {
			kills++
		}
		l := &line{t: t, rng: rand.New(rand.NewPCG(seed(), uint64(n))), steps: make(chan victim, 100), stdins: map[int]io.WriteCloser{}, processes: map[int]*exec.Cmd{},
			waiting: map[int]int64{}, dead: map[int]int64{}}
		l.spec = victimSpec{Address: server.Addr(), Namespace: namespace, Key: "job " + strconv.Itoa(n), Run: "the only one", MaxAttempts: kills + 1}
		l.numbers = func() int {
			mu.Lock()
			defer mu.Unlock()
			started++
			return started
		}
		lines[n] = l
		all.Go(func() { l.run(kills) })
	}
	all.Wait()
	stall := watch.stop()
	took := time.Since(began)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := m.catchUp(ctx, rdb); err != nil {
		t.Fatal(err)
	}
	v := &verdict{stall: stall}
	granted := checkIntervals(m, true, v)
	for _, x := range v.violations {
		t.Errorf("%s: %s", x.check, x.text)
	}
	stored := storedFences(t, rdb, namespace)
	l, err := lock.New(rdb, lock.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()

	var s killSummary
	for _, line := range lines {
		s.judge(t, line, granted[line.spec.Key], stall)
		infos, err := l.Jobs().Get(ctx, lock.JobID{Key: line.spec.Key, Run: line.spec.Run})
		if err != nil {
			t.Fatal(err)
		}
		c := counted{line.spec.Key, len(line.kills), infos[0].Attempt, len(granted[line.spec.Key]), len(stored[line.spec.Key])}
		s.counted = append(s.counted, c)
		if c.counter != c.monitor || c.counter != c.file || c.counter != c.kills+1 || infos[0].State != lock.JobDone {
			t.Errorf("%q is %v after %d kills, %d attempts are counted, MONITOR has seen %d fences, the append-only file has %d", c.key, infos[0].State, c.kills, c.counter, c.monitor, c.file)
		}
	}
	publish(t, &report.kills, s.section(took, stall))
}

// run kills so many holders of the line's job and then lets the last one be done.
func (l *line) run(kills int) {
	defer l.end()
	for range 1 + inLine {
		l.start()
	}
	for range kills {
		holder, ok := l.await("granted")
		if !ok {
			return
		}
		if len(l.kills) > 0 {
			l.kills[len(l.kills)-1].next = holder.Fence
		}
		time.Sleep(between(l.rng, 0, victimLease*3/2)) // it renews, or does not yet
		k := kill{fence: holder.Fence}
		killed := []int{holder.number}
		if l.rng.IntN(4) == 0 && len(l.waiting) > 0 {
			waiting := slices.Sorted(maps.Keys(l.waiting))
			w := waiting[l.rng.IntN(len(waiting))]
			l.dead[w] = l.waiting[w]
			delete(l.waiting, w)
			killed = append(killed, w)
		}
		for _, n := range slices.Backward(killed) { // the waiter first: it must not see the holder die
			_ = l.processes[n].Process.Kill()
		}
		k.at = now()
		l.kills = append(l.kills, k)
		for range killed {
			l.start()
		}
	}
	last, ok := l.await("granted")
	if !ok {
		return
	}
	l.kills[len(l.kills)-1].next = last.Fence
}

// await returns the next step of that kind, and notes who waits.
func (l *line) await(what string) (victim, bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case s := <-l.steps:
			switch s.What {
			case "waiting":
				l.waiting[s.number] = s.At
			case "failed":
				l.t.Errorf("victim %d of %q: %s", s.number, l.spec.Key, s.Error)
			}
			if s.What == what {
				l.tookOver(s.number)
				return s, true
			}
		case <-limit.C:
			l.t.Errorf("%q: nobody was %s within %v", l.spec.Key, what, patience)
			return victim{}, false
		}
	}
}

// tookOver notes how many dead were ahead of who has the job now: those who came
// before, and those who came at about the same time, since it is known only when they
// were told that they wait.
func (l *line) tookOver(number int) {
	at, waited := l.waiting[number]
	delete(l.waiting, number)
	for n, since := range l.dead {
		if waited && since > at+aboutNow {
			continue
		}
		if len(l.kills) > 0 {
			l.kills[len(l.kills)-1].dead++
		}
		if !waited || since < at-aboutNow {
			delete(l.dead, n)
		}
	}
}

const aboutNow = 200 * 1000 // µs

func (l *line) start() {
	s := l.spec
	s.Number = l.numbers()
	text, err := json.Marshal(s)
	if err != nil {
		l.t.Error(err)
		return
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Error(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		l.t.Error(err)
		return
	}
	l.stdins[s.Number], l.processes[s.Number] = in, cmd
	l.wg.Go(func() {
		lines := json.NewDecoder(out)
		for {
			x := victim{number: s.Number}
			if lines.Decode(&x.victimStep) != nil {
				break
			}
			l.steps <- x
		}
		_ = cmd.Wait()
	})
}

// end tells who lives that this is enough, and waits until all have ended.
func (l *line) end() {
	for _, in := range l.stdins {
		_ = in.Close()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.wg.Wait()
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case s := <-l.steps:
			if s.What == "failed" {
				l.t.Errorf("victim %d of %q: %s", s.number, l.spec.Key, s.Error)
			}
		case <-ended:
			return
		case <-limit.C:
			l.t.Errorf("%q: victims do not end", l.spec.Key)
			for _, cmd := range l.processes {
				_ = cmd.Process.Kill()
			}
			<-ended
			return
		}
	}
}

// counted is what was counted of a job, and what was granted.
type counted struct {
	key                           string
	kills, counter, monitor, file int
}

type killSummary struct {
	takeovers, bounds, margins []time.Duration
	deadAhead                  int
	counted                    []counted
}

// judge compares each takeover with its bound, by Redis's time.
func (s *killSummary) judge(t *testing.T, l *line, granted []tenure, stall time.Duration) {
	t.Helper()
	for _, k := range l.kills {
		old, next := tenureOf(granted, k.fence), tenureOf(granted, k.next)
		if old == nil || next == nil {
			t.Errorf("%q: MONITOR has not seen fences %d and %d", l.spec.Key, k.fence, k.next)
			continue
		}
		if old.settled {
			t.Errorf("%q: the lock of a killed holder was released", l.spec.Key)
		}
		rest := max(0, micros(old.to-k.at))
		took := micros(next.from - k.at)
		bound := rest + offer + inLine*rank + time.Duration(k.dead)*offer
		s.takeovers, s.bounds, s.margins = append(s.takeovers, took), append(s.bounds, bound), append(s.margins, bound-took)
		s.deadAhead += k.dead
		if took > bound+stall {
			t.Errorf("%q: took over after %v; the bound is %v (%v of the lease, %d dead ahead), and the machine stood still for %v", l.spec.Key, took, bound, rest, k.dead, stall)
		}
	}
}

func (s *killSummary) section(took, stall time.Duration) string {
	at := func(ds []time.Duration, p float64) time.Duration {
		if len(ds) == 0 {
			return 0
		}
		ds = slices.Sorted(slices.Values(ds))
		return ds[min(len(ds)-1, int(p*float64(len(ds))))].Round(time.Millisecond)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `## Killed holders

Of %d jobs with %d waiting processes each, the holder was killed (SIGKILL) and replaced, %d times in all, and now and then one who waited as well. The bound
of G6 is counted for each: rest of its lease (of %v) + P + rank × step + P for each dead waiter ahead, with P = %v, step = %v and a rank of %d.

| kills | took over after: median | p99 | longest | bound: least | greatest | smallest margin | dead waiters ahead | stall | took |
| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
`, len(s.counted), inLine, len(s.takeovers), victimLease, offer, rank, inLine)
	fmt.Fprintf(&b, "| %d | %v | %v | %v | %v | %v | %v | %d | %v | %v |\n\n", len(s.takeovers), at(s.takeovers, 0.5), at(s.takeovers, 0.99), at(s.takeovers, 1),
		at(s.bounds, 0), at(s.bounds, 1), at(s.margins, 0), s.deadAhead, stall.Round(time.Millisecond), took.Round(time.Second))
	b.WriteString("The attempts that were counted, and the distinct fences that were granted:\n\n| job | kills | attempts counted | fences by MONITOR | fences in the append-only file |\n| --- | --: | --: | --: | --: |\n")
	for _, c := range s.counted {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", c.key, c.kills, c.counter, c.monitor, c.file)
	}
	return b.String()
}
