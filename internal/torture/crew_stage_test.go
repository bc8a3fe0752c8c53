package torture

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A crewStage is some time of work under one kind of fault.
type crewStage struct {
	t         *testing.T
	cluster   *redistest.Cluster
	plan      crewPlan
	name      string
	checked   string
	namespace string
	ttl       time.Duration
	dir       string
	crews     []*crewProcess
	locker    *lock.Locker // the controller's own

	withoutC  bool       // C does not hold at any time: what does not need it is judged
	migrates  sync.Mutex // one at a time: MIGRATE blocks both its ends, so two that cross would wait for each other
	mu        sync.Mutex
	moved     map[string]int // by how much of the slot had moved when it was left half-way
	halves    []time.Duration
	losses    losses
	takeovers []time.Duration
	took      time.Duration
	verdict   *crewVerdict
}

// A crewProcess is a crew as the controller sees it.
type crewProcess struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	journal string
	ended   chan error
}

func newCrewStage(t *testing.T, cluster *redistest.Cluster, p crewPlan, name, checked string, ttl time.Duration) *crewStage {
	t.Helper()
	s := &crewStage{t: t, cluster: cluster, plan: p, name: name, checked: checked, namespace: strings.ReplaceAll(name, " ", "-"), ttl: ttl, dir: t.TempDir(), moved: map[string]int{}}
	var err error
	if s.locker, err = lock.New(cluster.Client(t), lock.Config{Namespace: s.namespace, Shards: p.shards, Owner: "controller"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.locker.Close() })
	return s
}

// run has the crews work while inject does what is done to the cluster, and checks
// what they did.
func (s *crewStage) run(inject func(*crewStage)) {
	s.t.Helper()
	began := time.Now()
	for n := range s.plan.crews {
		s.start(n + 1)
	}
	inject(s)
	s.stop()
	s.took = time.Since(began)
	s.check()
}

// start starts a crew and returns when it works.
func (s *crewStage) start(number int) {
	s.t.Helper()
	c := &crewProcess{journal: filepath.Join(s.dir, fmt.Sprintf("crew-%d.jsonl", number)), ended: make(chan error, 1)}
	text, err := json.Marshal(crewSpec{
		Number: number, Seed: s.plan.seed + uint64(number), Addresses: s.cluster.Options().Addrs, Namespace: s.namespace, Shards: s.plan.shards,
		Journal: c.journal, Workers: s.plan.hands, Keys: s.plan.keys, Held: s.plan.held, TTL: s.ttl,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), crewVariable+"="+string(text), "GOMAXPROCS=2")
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		c.ended <- c.cmd.Wait()
	}()
	select {
	case <-ready:
	case err := <-c.ended:
		s.t.Fatalf("crew %d ended: %v", number, err)
	case <-time.After(crewPatience):
		s.t.Fatalf("crew %d does not begin to work", number)
	}
	s.crews = append(s.crews, c)
}

// stop has the crews end what they are at, and go.
func (s *crewStage) stop() {
	s.t.Helper()
	for _, c := range s.crews {
		_ = c.stdin.Close()
	}
	limit := time.After(2 * crewPatience)
	for i, c := range s.crews {
		select {
		case err := <-c.ended:
			if err != nil {
				s.t.Errorf("%s: crew %d: %v", s.name, i+1, err)
			}
		case <-limit:
			_ = c.cmd.Process.Kill()
			s.t.Errorf("%s: crew %d does not end: %v", s.name, i+1, <-c.ended)
		}
	}
}

func (s *crewStage) check() {
	s.t.Helper()
	var notes []crewNote
	for i, c := range s.crews {
		of, err := readCrew(c.journal)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(of) == 0 || of[len(of)-1].Kind != noteEnd {
			s.t.Errorf("%s: crew %d did not end as it was told to", s.name, i+1)
		}
		notes = append(notes, of...)
	}
	records := map[lock.JobID]lock.JobInfo{}
	ctx, cancel := context.WithTimeout(s.t.Context(), crewPatience)
	defer cancel()
	for job, err := range s.locker.Jobs().List(ctx, lock.JobQuery{}) {
		if err != nil {
			s.t.Errorf("%s: %v", s.name, err)
			continue
		}
		records[job.ID] = job
	}
	s.verdict = checkCrews(notes, records, s.ttl, s.losses)
	s.verdict.held = s.plan.crews * s.plan.held
	if s.withoutC {
		s.verdict.judgeWithoutC()
	}
	if s.verdict.runs == 0 {
		s.t.Errorf("%s: no job was done", s.name)
	}
	const most = 20
	for i, x := range s.verdict.violations {
		if i == most {
			s.t.Errorf("%s: %d more violations", s.name, len(s.verdict.violations)-most)
			break
		}
		s.t.Errorf("%s, %v after its begin: %s: %s", s.name, micros(x.at-s.begin(notes)), x.check, x.text)
	}
}

// begin returns when the first of the notes was made.
func (s *crewStage) begin(notes []crewNote) int64 {
	return slices.MinFunc(notes, func(a, b crewNote) int { return cmp.Compare(a.At, b.At) }).At
}
