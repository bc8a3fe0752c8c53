package torture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

const (
	processes   = 4
	clients     = 2 // in each process
	keys        = 2
	lease       = 600 * time.Millisecond
	maxAttempts = 4
	quiet       = 2 * time.Second  // at the end of a round, without faults
	patience    = 15 * time.Second // for what must end by itself
)

// A round is some seconds of work under one fault, on servers of its own.
type round struct {
	t      *testing.T
	fault  fault
	seed   uint64
	rng    *rand.Rand // of the fault
	binary string     // what the processes run
	dir    string
	spec   spec // what the processes have in common

	server   *redistest.Server // of the faults that have one
	cluster  *redistest.Cluster
	sentinel *redistest.Sentinel
	clock    string             // the file that moves the server's clock
	proxies  []*redistest.Proxy // by slot
	direct   *redis.Client      // to the server, without a proxy
	monitor  *monitor
	ledger   *ledger
	load     context.Context // ends when the faults are to end
	watch    *watch
	healed   int64 // when the faults were over,
	ending   int64 // and when the processes were told to end

	mu                           sync.Mutex
	slots                        []*child // who is there at present
	children                     []*child // all that were started
	stopping                     bool
	disturbed                    []span
	losses                       []int64           // when a failover may have lost what was acknowledged
	lostBundles, lostSettlements []*redistest.Loss // replies
	turn                         int               // of what a fault does in turns
	failures                     []string          // of the processes
	wg                           sync.WaitGroup
}

// A child is a worker process as the controller sees it.
type child struct {
	number     int
	journal    string
	cmd        *exec.Cmd
	born, died int64
	ended      chan struct{}
}

func newRound(t *testing.T, f fault, seed uint64, binary, dir string) *round {
	t.Helper()
	r := &round{t: t, fault: f, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), binary: binary, dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.spec = spec{Kind: f.kind, Keys: keys, Clients: cmp.Or(f.clients, clients), Long: cmp.Or(f.long, 25), TTL: lease, MaxAttempts: maxAttempts}
	switch f.kind {
	case "cluster":
		r.cluster = redistest.StartCluster(t, redistest.Own, f.options...)
		r.spec.Addresses, r.spec.Namespace = r.cluster.Options().Addrs, "torture"
	case "sentinel":
		r.sentinel = redistest.StartSentinel(t, f.options...)
		r.spec.Addresses, r.spec.Master, r.spec.Namespace = r.sentinel.Options().SentinelAddrs, r.sentinel.Options().MasterName, "torture"
	default:
		options := append([]redistest.Option{redistest.User(admin + " on >" + admin + " allkeys allchannels allcommands")}, f.options...)
		if f.jumps {
			r.server, r.clock = startWithClock(t, options...)
		} else {
			r.server = redistest.Start(t, redistest.Own, options...)
		}
		r.direct, r.spec.Namespace = r.administrator(), "torture"
		saw(r.direct)
		for range processes {
			r.proxies = append(r.proxies, redistest.NewProxy(t, r.server.Addr()))
		}
		var err error
		if r.monitor, err = startMonitor(r.server.Addr(), r.spec.Namespace); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.monitor.close)
	}
	var err error
	if r.ledger, err = newLedger(); err != nil {
		t.Fatal(err)
	}
	r.spec.Ledger = r.ledger.address()
	return r
}

// run has the processes work while the fault befalls them, and checks what they did.
func (r *round) run(d time.Duration) *verdict {
	r.t.Helper()
	load, end := context.WithTimeout(r.t.Context(), d)
	defer end()
	r.load, r.watch = load, startWatch()
	defer r.watch.stop()
	r.slots = make([]*child, processes)
	for slot := range processes {
		r.start(slot)
	}
	if r.fault.inject != nil {
		r.fault.inject(r)
	}
	<-load.Done()
	r.heal()
	r.healed = now()
	r.quieten()
	v := &verdict{}
	r.ending = now()
	r.stop(v)
	r.check(v)
	return v
}

// start starts a process, and another one in its slot if it dies.
func (r *round) start(slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return
	}
	s := r.spec
	s.Number = len(r.children) + 1
	s.Seed = r.seed + uint64(s.Number)*1000003
	s.Journal = filepath.Join(r.dir, fmt.Sprintf("process-%d.jsonl", s.Number))
	if r.proxies != nil {
		s.Addresses = []string{r.proxies[slot].Addr()}
	}
	if r.fault.deaths != nil && slot > 0 {
		rng := rand.New(rand.NewPCG(s.Seed, 1))
		s.Die, s.DieAt = r.fault.deaths[rng.IntN(len(r.fault.deaths))], 1+rng.IntN(6)
	}
	text, err := json.Marshal(s)
	if err != nil {
		r.t.Error(err)
		return
	}
	c := &child{number: s.Number, journal: s.Journal, cmd: exec.Command(r.binary), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), variable+"="+string(text), "GOMAXPROCS=2")
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		r.t.Error(err)
		return
	}
	c.born = now()
	r.slots[slot] = c
	r.children = append(r.children, c)
	pause := time.Duration(rand.New(rand.NewPCG(s.Seed, 2)).Int64N(int64(200 * time.Millisecond)))
	r.wg.Go(func() {
		err := c.cmd.Wait()
		r.mu.Lock()
		if c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			c.died = now()
		} else if err != nil {
			r.failures = append(r.failures, fmt.Sprintf("process %d: %v", c.number, err))
		}
		r.mu.Unlock()
		close(c.ended)
		time.Sleep(pause)
		r.start(slot)
	})
}

// sleep waits, and tells whether the faults are to go on.
func (r *round) sleep(from, to time.Duration) bool {
	select {
	case <-time.After(between(r.rng, from, to)):
		return true
	case <-r.load.Done():
		return false
	}
}

// holder returns a process that works at present, or any, if none does.
func (r *round) holder() *child {
	numbers := r.ledger.holders()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.slots {
		for _, n := range numbers {
			if c.number == n && c.died == 0 {
				return c
			}
		}
	}
	return r.slots[r.rng.IntN(len(r.slots))]
}

func (c *child) signal(s syscall.Signal) {
	_ = c.cmd.Process.Signal(s) // it may have ended
}

// disturb notes that Redis, or the way to it, is not well until what it returns is
// called, and for some time after that, in which calls are sent again.
func (r *round) disturb() (end func()) {
	from := now()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.disturbed = append(r.disturbed, span{from, now() + (3 * time.Second).Microseconds()})
	}
}

func (r *round) heal() {
	for _, p := range r.proxies {
		p.Heal()
		p.PassMessages()
		p.Refuse(false)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.slots {
		c.signal(syscall.SIGCONT)
	}
}

func (r *round) quieten() {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	<-timer.C
}

// stop ends the processes. One that does not end by itself is a violation.
func (r *round) stop(v *verdict) {
	r.mu.Lock()
	r.stopping = true
	slots := append([]*child(nil), r.slots...)
	r.mu.Unlock()
	for _, c := range slots {
		c.signal(syscall.SIGTERM)
	}
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, c := range slots {
		select {
		case <-c.ended:
		case <-limit.Done():
			v.violate("timers G10", now(), "process %d does not end", c.number)
			c.signal(syscall.SIGKILL)
		}
	}
	r.wg.Wait()
	r.ledger.close()
}

func (r *round) check(v *verdict) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	end := now()
	v.stall = r.watch.stop()
	var lives []*life
	for _, c := range r.children {
		l, err := readJournal(c.journal, c.number)
		if errors.Is(err, os.ErrNotExist) {
			continue // it died before it did anything
		}
		if err != nil {
			r.t.Fatal(err)
		}
		l.born, l.died = c.born, c.died
		lives = append(lives, l)
		for _, s := range l.broken {
			v.violate("process", s.At, "process %d: %s", c.number, s.Error)
		}
	}
	for _, l := range lives {
		for _, o := range l.operations {
			for _, word := range r.fault.says {
				if strings.Contains(o.answer.Error, word) {
					v.says(word)
				}
			}
		}
	}
	for _, text := range r.failures {
		v.violate("processes", end, "%s", text)
	}
	checkFences(lives, v)
	checkStale(lives, r.losses, v)
	checkReturns(lives, v)
	entries := r.ledger.all()
	checkLedger(entries, v)

	var seen map[string][]tenure // all that was granted, if that is known
	if r.monitor != nil {
		if err := r.monitor.catchUp(ctx, r.direct); err != nil {
			r.t.Errorf("MONITOR: %v", err)
		}
		r.monitor.close()
		all := checkIntervals(r.monitor, r.fault.keeps, v)
		if !r.fault.jumps {
			checkLoss(lives, all, v)
		}
		if r.fault.keeps {
			checkReleases(lives, all, v)
		}
		v.bundles = r.monitor.bundles
		if len(r.monitor.breaks) == 1 {
			seen = all
		}
		if r.fault.keeps {
			checkIdle(lives, processes, all, r.fault, r.disturbed, r.ending, v)
		}
	}
	if r.fault.keeps {
		records, err := r.records(ctx)
		if err != nil {
			v.violate("records", end, "%v", err)
		}
		checkCounters(records, seen, v)
		checkHistory(lives, records, maxAttempts, v)
		checkLocks(lives, r.fault.definite, v)
		checkUses(lives, v)
		checkProgress(lives, r.healed, r.ending, v)
	}
	v.lostBundles = countLost(r.lostBundles)
	if r.fault.keeps {
		v.checked("G9", countLost(r.lostSettlements))
	}
	if len(v.violations) > 0 {
		r.keep(v, entries)
	} else if err := os.RemoveAll(r.dir); err != nil { //nolint:gosec // a folder of our own
		r.t.Error(err)
	}
}

// countLost counts what was lost indeed.
func countLost(losses []*redistest.Loss) int {
	n := 0
	for _, l := range losses {
		select {
		case <-l.Done():
			n++
		default:
		}
	}
	return n
}

// records reads what Redis remembers in the end.
func (r *round) records(ctx context.Context) ([]final, error) {
	var client redis.UniversalClient
	switch {
	case r.cluster != nil:
		client = r.cluster.Client(r.t)
	case r.sentinel != nil:
		client = r.sentinel.Client(r.t)
	default:
		client = r.direct
	}
	locker, err := lock.New(client, lock.Config{Namespace: r.spec.Namespace})
	if err != nil {
		return nil, err
	}
	defer func() { _ = locker.Close() }()
	var finals []final
	for job, err := range locker.Jobs().List(ctx, lock.JobQuery{}) {
		if err != nil {
			return nil, err
		}
		finals = append(finals, final{now(), job})
	}
	return finals, nil
}

// keep leaves the files of a round where they can be looked at, with what was found.
func (r *round) keep(v *verdict, entries []entry) {
	r.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "fault %q, seed %d\n", r.fault.name, r.seed)
	for _, x := range v.violations {
		fmt.Fprintf(&text, "%s at %d: %s\n", x.check, x.at, x.text)
	}
	r.file("violations.txt", []byte(text.String()))
	ledger, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		r.t.Error(err)
	}
	r.file("ledger.json", ledger)
	if r.monitor != nil {
		var lines strings.Builder
		for key, ws := range r.monitor.writes {
			for _, w := range ws {
				fmt.Fprintf(&lines, "%d %q %c fence %d nonce %s granted %d expiry %d\n", w.at, key, w.kind, w.fence, w.nonce, w.granted(), w.expiry)
			}
		}
		r.file("monitor.txt", []byte(lines.String()))
	}
	for i, d := range v.drawings {
		path := filepath.Join(r.dir, fmt.Sprintf("history-%d.html", i+1))
		if err := porcupine.VisualizePath(d.model, d.info, path); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *round) file(name string, text []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil { //nolint:gosec // in a folder of our own
		r.t.Error(err)
	}
}

// admin is the user, and the password, of the controller: what befalls others does
// not befall it.
const admin = "admin"

func (r *round) administrator() *redis.Client {
	o := r.server.Options()
	o.Username, o.Password = admin, admin
	c := redis.NewClient(o)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}
