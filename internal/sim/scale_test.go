package sim

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// How much Redis is given to do, for each thing that is done, as workers and jobs
// become many. Counts need no clock: they are the same on any machine, and here
// for a cluster that no machine of ours could run.

var scaleFlag = flag.String("scale", usualScale, "sizes to count at: least, tiny, small, large or huge")

// A cost is what the server was given.
type cost struct {
	scripts  float64 // calls
	commands float64 // all, those inside scripts too; but no PING, see pings
	messages float64 // delivered
	pings    float64 // of subscriptions: one for each Locker that has waited, every three seconds
}

func (s *redisServer) spent() cost {
	all := 0
	for _, n := range s.counted.calls {
		all += n
	}
	scripts := 0
	for _, n := range s.counted.scripts {
		scripts += n
	}
	pings := s.counted.calls["PING"]
	return cost{float64(scripts), float64(all - pings), float64(s.counted.messages), float64(pings)}
}

func (c cost) minus(d cost) cost {
	return cost{c.scripts - d.scripts, c.commands - d.commands, c.messages - d.messages, c.pings - d.pings}
}

func (c cost) by(n float64) cost {
	return cost{c.scripts / n, c.commands / n, c.messages / n, c.pings / n}
}

// counting is a world without faults, in which commands are counted and nothing
// is checked.
func counting(t *testing.T, shards int, do func(w *world)) {
	t.Helper()
	inWorld(t, 1, settings{}, func(w *world) {
		w.weather = weather{slowest: 400 * time.Microsecond}
		w.plan = plan{lease: 5 * time.Second, maxAttempts: 3, shards: shards}
		w.server.indexes = map[string]*index{}
		do(w)
	})
}

func (w *world) processes(n int) []*process {
	ps := make([]*process, n)
	for i := range ps {
		ps[i] = w.process()
	}
	return ps
}

func (w *world) closeAll(ps []*process) {
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(p.close)
	}
	wg.Wait()
	time.Sleep(time.Minute)
}

func (w *world) spent() cost {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.server.spent()
}

// handOvers counts what one grant costs, of a lock that so many want at once: who
// has it holds it for a millisecond, releases it and asks again.
func handOvers(t *testing.T, lockers, grants int) (c cost) {
	counting(t, 1, func(w *world) {
		ps := w.processes(lockers)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		total, from := 0, cost{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, p := range ps {
			wg.Go(func() {
				for ctx.Err() == nil {
					_ = p.locker.Do(ctx, lock.Claim{Resource: "r"}, func(context.Context, *lock.Lease) error {
						time.Sleep(time.Millisecond)
						mu.Lock()
						defer mu.Unlock()
						switch total++; total {
						case lockers: // everybody has had it once: connected, subscribed and queued
							from = w.spent()
						case lockers + grants:
							c = w.spent().minus(from).by(float64(grants))
							cancel()
						}
						return nil
					})
				}
			})
		}
		wg.Wait()
		w.closeAll(ps)
	})
	return c
}

// waiting counts what so many cost in a second who wait for a lock that stays held.
func waiting(t *testing.T, lockers int) (c cost) {
	counting(t, 1, func(w *world) {
		ps := w.processes(lockers + 1)
		held, err := ps[0].locker.Hold(context.Background(), lock.Claim{Resource: "r"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for _, p := range ps[1:] {
			wg.Go(func() { _, _ = p.locker.Hold(ctx, lock.Claim{Resource: "r"}) })
		}
		settle := 10*time.Second + time.Duration(lockers)*150*time.Millisecond // every timer has run once
		time.Sleep(settle)
		from := w.spent()
		time.Sleep(2 * time.Minute)
		c = w.spent().minus(from).by(120)
		cancel()
		wg.Wait()
		_ = held.Release(context.Background())
		w.closeAll(ps)
	})
	return c
}

// jobs counts what a job costs that two workers of many run: one does it, the
// other one waits and is told. It returns also which part of the calls the fullest
// of three nodes has, if the shards are dealt to them in turn. In a shard that it
// has not called before, a Locker calls once more to learn the server's time.
func jobs(t *testing.T, shards, workers, n int) (c cost, fullest float64) {
	counting(t, shards, func(w *world) {
		ps := w.processes(workers)
		ws := make([]*worker.Worker, workers)
		for i, p := range ps {
			ws[i] = p.newWorker(worker.Config{})
		}
		var wg sync.WaitGroup
		run := func(at, from, step, n int, name string) {
			for job := from; job < n; job += step {
				outcome, err := ws[at].Run(context.Background(), worker.Job{Key: fmt.Sprintf("job-%d", job), Run: worker.Once(name)},
					func(context.Context, worker.Attempt) error { time.Sleep(10 * time.Millisecond); return nil })
				if outcome != worker.Completed && outcome != worker.CompletedElsewhere {
					t.Errorf("%v, %v", outcome, err)
				}
			}
		}
		all := func(n int, name string) {
			for at := range workers {
				wg.Go(func() { run(at, at, workers, n, name) })
				wg.Go(func() { run(at, (at+1)%workers, workers, n, name) })
			}
			wg.Wait()
		}
		all(max(workers, min(n, 256)), "to begin with") // everybody is connected, and most shards are set up
		w.server.counted.shards = map[string]int{}
		from := w.spent()
		all(n, "1")
		c = w.spent().minus(from).by(float64(n))
		var nodes [3]float64
		total := 0.0
		for shard, calls := range w.server.counted.shards {
			nodes[number(shard)%3] += float64(calls)
			total += float64(calls)
		}
		fullest = max(nodes[0], nodes[1], nodes[2]) / total
		w.closeAll(ps)
	})
	return c, fullest
}

// collections counts what a job costs when so many workers do a part each with RunAll.
func collections(t *testing.T, workers, n int) (c cost) {
	counting(t, 1, func(w *world) {
		ps := w.processes(workers)
		all := func(n int, name string) {
			var wg sync.WaitGroup
			for at, p := range ps {
				wg.Go(func() {
					part := func(yield func(worker.Job) bool) {
						for job := at; job < n; job += workers {
							if !yield(worker.Job{Key: fmt.Sprintf("job-%d", job), Run: worker.Once(name)}) {
								return
							}
						}
					}
					_, err := p.newWorker(worker.Config{Concurrency: 100}).RunAll(context.Background(), part,
						func(context.Context, worker.Attempt) error { time.Sleep(10 * time.Millisecond); return nil })
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		all(workers, "to begin with") // everybody is connected
		from := w.spent()
		all(n, "1")
		c = w.spent().minus(from).by(float64(n))
		w.closeAll(ps)
	})
	return c
}

// renewals counts what a thousand leases of five seconds cost in a second, which one Locker keeps.
func renewals(t *testing.T, leases int) (c cost) {
	counting(t, 1, func(w *world) {
		ps := w.processes(1)
		ctx := context.Background()
		for n := 0; n < leases; n += 1000 {
			var names []string
			for i := n; i < min(n+1000, leases); i++ {
				names = append(names, fmt.Sprintf("lease-%d", i))
			}
			rs, err := ps[0].locker.TryLock(ctx, lock.Claims("me", names...)...)
			if err == nil {
				_, err = ps[0].locker.Keep(ctx, rs...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		from := w.spent()
		time.Sleep(50 * time.Second)
		c = w.spent().minus(from).by(50 * float64(leases) / 1000)
		w.closeAll(ps)
	})
	return c
}

func TestScale(t *testing.T) {
	sizes := map[string]struct {
		lockers, workers, jobs, leases []int
		parts                          [][2]int // workers and jobs, for RunAll
	}{
		"least": {[]int{5, 20}, []int{10, 20}, []int{50, 100}, []int{500, 1000}, [][2]int{{2, 200}, {4, 400}}},
		"tiny":  {[]int{10, 40}, []int{20, 60}, []int{100, 400}, []int{1000, 3000}, [][2]int{{2, 200}, {20, 2000}}},
		"small": {[]int{100, 1000}, []int{100, 1000}, []int{1e3, 1e4}, []int{1e3, 1e4}, [][2]int{{10, 1e3}, {10, 1e4}, {100, 1e4}}},
		"large": {[]int{100, 1000, 10000}, []int{100, 1000, 10000}, []int{1e4, 1e5}, []int{1e3, 1e4, 1e5}, [][2]int{{10, 1e3}, {100, 1e4}, {1000, 1e5}}},
		"huge":  {parts: [][2]int{{100, 1e6}}}, // minutes, and gigabytes
	}
	s, known := sizes[*scaleFlag]
	if !known {
		t.Fatalf("-scale %q", *scaleFlag)
	}
	var page strings.Builder
	row := func(what string, c cost, more string) {
		fmt.Fprintf(&page, "| %s | %.4g | %.4g | %.4g | %.4g | %s |\n", what, c.scripts, c.commands, c.messages, c.pings, more)
		if *scaleFlag != usualScale { // it takes long
			fmt.Fprintf(os.Stderr, "%s %+v %s\n", what, c, more)
		}
	}
	flat := func(what string, costs []cost) {
		for _, c := range costs {
			if first := costs[0]; c.commands > 1.1*first.commands || c.scripts > 1.1*first.scripts {
				t.Errorf("%s: %+v, and at the smallest size %+v", what, c, first)
			}
		}
	}
	var grants, done, kept []cost
	for _, n := range s.lockers {
		c := handOvers(t, n, 200)
		grants = append(grants, c)
		row(fmt.Sprintf("a hand-over among %d", n), c, "")
	}
	for _, n := range s.lockers {
		row(fmt.Sprintf("a second of %d who wait", n), waiting(t, n), "")
	}
	for _, workers := range s.workers {
		for _, n := range s.jobs {
			c, _ := jobs(t, 1, workers, n)
			if n >= 5*workers { // or what each worker costs by itself counts, too
				done = append(done, c)
			}
			row(fmt.Sprintf("a job of %d, %d workers", n, workers), c, "")
			if workers <= 100 {
				c, fullest := jobs(t, 64, workers, n)
				row("the same in 64 shards on three nodes", c, fmt.Sprintf("the fullest node has %.1f %%", 100*fullest))
			}
		}
	}
	var parts []cost
	for _, p := range s.parts {
		c := collections(t, p[0], p[1])
		if p[1] == 100*p[0] {
			parts = append(parts, c)
		}
		row(fmt.Sprintf("a job of %d that %d workers do with RunAll", p[1], p[0]), c, "")
	}
	for _, n := range s.leases {
		c := renewals(t, n)
		kept = append(kept, c)
		row(fmt.Sprintf("a second of 1,000 leases of %d", n), c, "")
	}
	flat("hand-over", grants)
	flat("job", done)
	flat("job with RunAll, 100 for each worker", parts)
	flat("leases", kept)
	t.Log("\n" + page.String())
}
