package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

var failoversFlag = flag.Int("failovers", 2, "how often the primary is killed in TestSentinelFailovers, for each number of replicas that must acknowledge")

// TestSentinelFailovers kills the primary behind a Sentinel under load, again and
// again; every other one is cut off from its replica for a moment before, and goes on
// acknowledging what the failover will forget. Each job must be done in the end. A
// job that was done twice must have been done, by the killed primary's append-only
// file, where the promoted node knew nothing of it, as it was read before it was
// promoted; and the later one must have the larger fence. What the failover forgot
// must be done again as soon as somebody asks for it.
//
// Once more, one replica must acknowledge: then no done may be lost that a worker was
// told of. The whole of it is
//
//	go test -C internal/torture -run TestSentinelFailovers -v -failovers 10 -timeout 20m
func TestSentinelFailovers(t *testing.T) {
	for _, replicas := range []int{0, 1} {
		t.Run(fmt.Sprintf("Replicas %d", replicas), func(t *testing.T) {
			f := newFailovers(t, replicas)
			for n := range *failoversFlag {
				f.failOver(n%2 == 1)
				if t.Failed() {
					break
				}
			}
			f.finish()
		})
	}
}

const (
	failoverTTL     = 10 * time.Second        // longer than a failover takes
	failoverDown    = 1500 * time.Millisecond // until the sentinel acts: time to read what is to be promoted
	failoverCut     = 300 * time.Millisecond  // how long a replica is cut off before the primary is killed
	failoverWait    = time.Second             // the same, if it must acknowledge: longer than that is waited for
	failoverLoad    = time.Second             // between two failovers, at least
	failoverWorkers = 16                      // two for each job
	failoverBound   = 90 * time.Second        // for what must happen after each
)

// failovers is a test's state.
type failovers struct {
	t        *testing.T
	replicas int
	sentinel *redistest.Sentinel
	ctx      context.Context // of the workers
	stop     context.CancelFunc
	workers  sync.WaitGroup
	next     atomic.Int64 // twice the number of the next job
	lockers  []*lock.Locker
	worker   *worker.Worker // of whoever comes later

	mu      sync.Mutex
	dones   map[string][]finished // by job
	fences  map[string]int64      // by job: the largest that was granted
	begun   int64                 // fence of the last grant that led to a done
	trouble map[string]int        // what OnError was told, and how often

	rows []failoverRow
}

// A finished job is one that a worker was told to have recorded as done.
type finished struct {
	fence int64
	lost  string // what the promoted node had instead; "" where it has it
	told  bool   // that it was done again
}

// A failoverRow is what came of one failover.
type failoverRow struct {
	cutOff                 bool
	goesOn                 time.Duration // from the kill to the first job that was granted and done after it
	settled                int           // jobs that were done since the one before
	unheard, lost, doubled int           // dones that were forgotten: nobody was told of; a worker was told of; and were done again
}

func newFailovers(t *testing.T, replicas int) *failovers {
	t.Helper()
	f := &failovers{t: t, replicas: replicas, dones: map[string][]finished{}, fences: map[string]int64{}, trouble: map[string]int{}}
	f.sentinel = redistest.StartSentinel(t, redistest.AppendOnly(), redistest.Config("auto-aof-rewrite-percentage", "0"))
	f.sentinel.DownAfter(failoverDown)
	f.ctx, f.stop = context.WithCancel(context.Background())
	t.Cleanup(f.end)
	for range failoverWorkers {
		w := f.newWorker()
		f.workers.Go(func() {
			for f.ctx.Err() == nil {
				f.do(f.ctx, w, strconv.FormatInt(f.next.Add(1)/2, 10))
			}
		})
	}
	f.worker = f.newWorker()
	return f
}

func (f *failovers) newWorker() *worker.Worker {
	f.t.Helper()
	l, err := lock.New(f.sentinel.Client(f.t), lock.Config{Namespace: "failovers", Replicas: f.replicas})
	if err != nil {
		f.t.Fatal(err)
	}
	f.lockers = append(f.lockers, l)
	w, err := worker.New(l, worker.Config{TTL: failoverTTL, MaxAttempts: 1000, Handlers: worker.Handlers{
		OnAcquired: f.granted, OnDone: f.done, OnError: f.troubled,
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

// end ends the workers and closes what they had.
func (f *failovers) end() {
	f.stop()
	f.workers.Wait()
	for _, l := range f.lockers {
		_ = l.Close()
	}
}

func (f *failovers) granted(a worker.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.fences[a.Job.Key]; a.Fence <= last {
		f.t.Errorf("G3: job %s was granted with fence %d after %d", a.Job.Key, a.Fence, last)
	}
	f.fences[a.Job.Key] = max(f.fences[a.Job.Key], a.Fence)
}

func (f *failovers) done(a worker.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dones[a.Job.Key] = append(f.dones[a.Job.Key], finished{fence: a.Fence})
	f.begun = max(f.begun, a.Fence)
}

func (f *failovers) troubled(_ worker.Job, err error) {
	kind := "unavailable"
	switch {
	case errors.Is(err, lock.ErrNotReplicated):
		kind = "not replicated"
	case errors.Is(err, lock.ErrOutcomeUnknown):
		kind = "outcome unknown"
	case errors.Is(err, lock.ErrLeaseLost):
		kind = "lease lost"
	case !errors.Is(err, lock.ErrUnavailable):
		f.t.Errorf("a worker was told: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble[kind]++
}

func failoverJob(key string) worker.Job {
	return worker.Job{Key: key, Run: worker.Run{Name: "run", Retention: time.Hour}}
}

// do has a job done, by this worker or by another.
func (f *failovers) do(ctx context.Context, w *worker.Worker, key string) {
	outcome, err := w.Run(ctx, failoverJob(key), func(context.Context, worker.Attempt) error {
		time.Sleep(5 * time.Millisecond) // it is work
		return nil
	})
	if ctx.Err() == nil && outcome != worker.Completed && outcome != worker.CompletedElsewhere {
		f.t.Errorf("job %s: %v, %v", key, outcome, err)
	}
}

// failOver kills the primary, and returns when all is as it was before.
func (f *failovers) failOver(cutOff bool) {
	t := f.t
	ctx, cancel := context.WithTimeout(context.Background(), failoverBound)
	defer cancel()
	row := failoverRow{cutOff: cutOff}
	before := f.count()
	time.Sleep(failoverLoad)
	primary, replica := f.sentinel.Current()
	client := replica.Client(t)
	if cutOff {
		replica.Stop()
		if err := primary.Client(t).ClientKillByFilter(ctx, "type", "replica").Err(); err != nil {
			t.Fatal(err)
		}
		cut := failoverCut
		if f.replicas > 0 {
			cut = failoverWait
		}
		time.Sleep(cut)
	}
	primary.Kill()
	killed := time.Now()
	if cutOff {
		replica.Continue()
	}
	has := f.readReplica(ctx, client)
	f.sentinel.AwaitPromotion(replica)
	written, err := primary.AppendOnlyFile()
	if err != nil {
		t.Fatal(err)
	}
	if f.replicas == 0 {
		f.awaitDone(ctx, killed)
		row.goesOn = time.Since(killed)
	}
	f.sentinel.Rejoin(primary)
	if f.replicas > 0 { // which can only go on now
		f.awaitDone(ctx, killed)
		row.goesOn = time.Since(killed)
	}
	forgotten := missing(donesIn(written), has)
	f.askAgain(ctx, forgotten)
	row.lost, row.unheard = f.match(forgotten, killed)
	row.doubled = f.checkDoubled()
	row.settled = f.count() - before
	f.rows = append(f.rows, row)
}

func (f *failovers) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.dones)
}

// readReplica returns the records of a replica whose primary is dead, when it has all
// that it will ever get from it, and before it is promoted.
func (f *failovers) readReplica(ctx context.Context, client *redis.Client) map[string]string {
	f.t.Helper()
	for {
		is, err := client.Do(ctx, "role").Slice() // slave, host, port, state, offset
		if err != nil {
			f.t.Fatal(err)
		}
		if is[0] != "slave" || is[3] != "connected" {
			break
		}
	}
	pipe := client.TxPipeline()
	records, role := pipe.HGetAll(ctx, "{failovers:0}:jobs"), pipe.Do(ctx, "role")
	if _, err := pipe.Exec(ctx); err != nil {
		f.t.Fatal(err)
	}
	if is, err := role.Slice(); err != nil || is[0] != "slave" {
		f.t.Fatalf("the replica was promoted before it could be read, this machine is too slow: %v, %v", is, err)
	}
	return records.Val()
}

// awaitDone returns when a job was done that was granted after this time.
func (f *failovers) awaitDone(ctx context.Context, since time.Time) {
	f.t.Helper()
	for {
		f.mu.Lock()
		begun := f.begun
		f.mu.Unlock()
		if begun/1000 > since.UnixMicro() { // a fence begins with the time of its grant
			return
		}
		select {
		case <-ctx.Done():
			f.t.Fatalf("nothing was done after the failover: %v", f.trouble)
		case <-time.After(time.Millisecond):
		}
	}
}

// askAgain has somebody come who asks for what was forgotten.
func (f *failovers) askAgain(ctx context.Context, forgotten map[doneRecord]string) {
	var all sync.WaitGroup
	for d := range forgotten {
		all.Go(func() { f.do(ctx, f.worker, d.key) })
	}
	all.Wait()
}

// finish ends the load, and looks whether all is done.
func (f *failovers) finish() {
	t := f.t
	t.Helper()
	f.end()
	var ids []lock.JobID
	for n := range f.next.Load()/2 + 1 {
		if key := strconv.FormatInt(n, 10); len(f.dones[key]) > 0 {
			ids = append(ids, lock.JobID{Key: key, Run: "run"})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), failoverBound)
	defer cancel()
	l, err := lock.New(f.sentinel.Client(t), lock.Config{Namespace: "failovers"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	infos, err := l.Jobs().Get(ctx, ids...)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		dones := f.dones[info.ID.Key]
		if last := dones[len(dones)-1]; info.State != lock.JobDone || info.Fence != last.fence {
			t.Errorf("in the end job %s is %v by the grant %d; a worker was told that it was done by %d", info.ID.Key, info.State, info.Fence, last.fence)
		}
	}
	begun := int(f.next.Load()/2) + 1
	if left := begun - len(ids); left > failoverWorkers {
		t.Errorf("%d of %d jobs were not done", left, begun)
	}
	f.print(len(ids))
	if f.replicas == 0 && len(f.rows) > 1 && !slices.ContainsFunc(f.rows, func(r failoverRow) bool { return r.doubled > 0 }) {
		t.Error("no failover has lost a done, though primaries were cut off: nothing was tried")
	}
}

func (f *failovers) print(jobs int) {
	fmt.Printf("\nConfig.Replicas %d: %d jobs, all settled; OnError was told: %v\n\n", f.replicas, jobs, f.trouble)
	fmt.Println("| failover | primary | went on after | jobs settled | dones lost | done again | forgotten, nobody told |")
	fmt.Println("| --: | --- | --: | --: | --: | --: | --: |")
	for n, r := range f.rows {
		how := "killed"
		if r.cutOff {
			how = "cut off, then killed"
		}
		fmt.Printf("| %d | %s | %v | %d | %d | %d | %d |\n", n+1, how, r.goesOn.Round(10*time.Millisecond), r.settled, r.lost, r.doubled, r.unheard)
	}
	fmt.Println()
}
