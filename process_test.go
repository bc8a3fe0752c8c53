package lockingworker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// processVariable makes the test binary a process that does a job; it holds that process's spec.
const processVariable = "LOCKINGWORKER_TEST_PROCESS"

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

// spec says what a process does.
type spec struct {
	URL         string
	Namespace   string
	Owner       string
	Key, Run    string
	TTL         time.Duration
	MaxAttempts int
	Grant       bool // it acquires, and settles by hand
	Jobs        int  // not 0: so many, with RunAll, whose works write to File
	File        string
}

// step is something that a process did, one line of JSON.
type step struct {
	Name    string // acquired, locked, cancelled, settled, result
	Attempt int
	Fence   int64 `json:",string"`
	Last    bool
	Holder  string
	Text    string   // cause or error
	Is      []string // which errors of the table it is
}

// sentinels are the errors that a step tells apart.
var sentinels = map[string]error{
	"lease lost":  lock.ErrLeaseLost,
	"exhausted":   worker.ErrExhausted,
	"done":        worker.ErrDone,
	"interrupted": context.Canceled,
}

// runProcess does what the spec says and is told what becomes of its work on standard input, line by line:
//
//	succeed, or fail and a cause     ends the work of Run
//	done                             calls Grant.Done
//	settle                           settles as done without asking whether the lease was lost
//
// Where its input ends, or at SIGTERM, its context ends.
func runProcess(text string) int {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := make(chan string)
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			orders <- lines.Text()
		}
	}()

	p, err := newProcess(s, orders)
	if err == nil {
		defer p.close()
		switch {
		case s.Grant:
			err = p.grant(ctx)
		case s.Jobs > 0:
			err = p.runAll(ctx)
		default:
			p.run(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is the inside of a process.
type process struct {
	spec   spec
	orders <-chan string
	client *redis.Client
	locker *lock.Locker
	worker *worker.Worker
}

func newProcess(s spec, orders <-chan string) (*process, error) {
	options, err := redis.ParseURL(s.URL)
	if err != nil {
		return nil, errors.New("not a URL of Redis")
	}
	p := &process{spec: s, orders: orders, client: redis.NewClient(options)}
	if p.locker, err = lock.New(p.client, lock.Config{Namespace: s.Namespace, Owner: s.Owner}); err != nil {
		return nil, err
	}
	p.worker, err = worker.New(p.locker, worker.Config{
		TTL:         s.TTL,
		MaxAttempts: s.MaxAttempts,
		RetryDelay:  worker.HandOver,
		Handlers: worker.Handlers{
			OnLocked: func(_ worker.Job, holder string) { tell(step{Name: "locked", Holder: holder}) },
		},
	})
	return p, err
}

func (p *process) close() {
	_ = p.locker.Close()
	_ = p.client.Close()
}

func (p *process) job() worker.Job {
	return worker.Job{Key: p.spec.Key, Run: worker.Run{Name: p.spec.Run, Retention: time.Hour}}
}

// run is Run; what becomes of the work is ordered.
func (p *process) run(ctx context.Context) {
	outcome, err := p.worker.Run(ctx, p.job(), func(ctx context.Context, a worker.Attempt) error {
		tell(step{Name: "acquired", Attempt: a.Number, Fence: a.Fence, Last: a.Last()})
		select {
		case order := <-p.orders:
			if cause, ok := strings.CutPrefix(order, "fail "); ok {
				return errors.New(cause)
			}
			return nil
		case <-ctx.Done():
			tellError("cancelled", context.Cause(ctx))
			return context.Cause(ctx)
		}
	})
	result := failure("result", err)
	result.Holder = outcome.String()
	if e := (*worker.ExhaustedError)(nil); errors.As(err, &e) {
		result.Attempt, result.Text = e.Attempts, e.Cause
	}
	tell(result)
}

// grant acquires, waits until the lease is lost, and settles all the same, as it is ordered.
func (p *process) grant(ctx context.Context) error {
	g, err := p.worker.Acquire(ctx, p.job())
	if err != nil {
		return err
	}
	a := g.Attempt()
	tell(step{Name: "acquired", Attempt: a.Number, Fence: a.Fence, Last: a.Last()})
	<-g.Context().Done()
	tellError("cancelled", context.Cause(g.Context()))
	for {
		select {
		case order := <-p.orders:
			switch order {
			case "done":
				tellError("settled", g.Done(ctx))
			case "settle":
				_, err := p.locker.Jobs().Settle(ctx, lock.Settlement{
					Grant: lock.Result{Resource: p.spec.Key, Owner: p.spec.Owner, Fence: a.Fence},
					ID:    lock.JobID{Key: p.spec.Key, Run: p.spec.Run},
					End:   lock.Done,
				})
				tellError("settled", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func tell(s step) {
	line, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func tellError(name string, err error) { tell(failure(name, err)) }

func failure(name string, err error) step {
	s := step{Name: name}
	if err != nil {
		s.Text = err.Error()
	}
	for text, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			s.Is = append(s.Is, text)
		}
	}
	slices.Sort(s.Is)
	return s
}

// contender is a process as its test sees it.
type contender struct {
	t      *testing.T
	number int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	steps  chan step
	ended  chan struct{}
}

// bench starts processes of one test, all on one server, in one namespace.
type bench struct {
	t      *testing.T
	server *redistest.Server
	spec   spec // what they have in common
	n      int
}

// newBench needs a real Redis, for what is promised of several processes.
func newBench(t *testing.T, ttl time.Duration, maxAttempts int) *bench {
	t.Helper()
	server := redistest.Start(t, redistest.Real)
	return &bench{t: t, server: server, spec: spec{
		URL: server.URL(), Namespace: server.Namespace(t), Key: "job", Run: "run", TTL: ttl, MaxAttempts: maxAttempts,
	}}
}

// start starts a process; change, where it is not nil, changes its spec. It is killed when the test ends.
func (b *bench) start(change func(*spec)) *contender {
	b.t.Helper()
	b.n++
	s := b.spec
	s.Owner = "process-" + strconv.Itoa(b.n)
	if change != nil {
		change(&s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		b.t.Fatal(err)
	}
	c := &contender{t: b.t, number: b.n, cmd: exec.Command(os.Args[0]), steps: make(chan step, 1000), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), processVariable+"="+string(text), "GORACE=atexit_sleep_ms=0") // the detector waits for a second
	c.cmd.Stderr = os.Stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		defer close(c.steps)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var s step
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				c.t.Errorf("process %d: %q: %v", c.number, lines.Text(), err)
			}
			c.steps <- s
		}
		_ = c.cmd.Wait()
	}()
	b.t.Cleanup(func() {
		c.kill()
	})
	return c
}

// await returns the process's next step of that name, and skips others but results.
func (c *contender) await(name string) step {
	c.t.Helper()
	limit := time.After(bound)
	for {
		select {
		case s, ok := <-c.steps:
			switch {
			case !ok:
				c.t.Fatalf("process %d ended before %q", c.number, name)
			case s.Name == name:
				return s
			case s.Name == "result":
				c.t.Fatalf("process %d returned before %q: %+v", c.number, name, s)
			}
		case <-limit:
			c.t.Fatalf("process %d: no %q", c.number, name)
		}
	}
}

// result returns what Run returned, and fails the test if the process did anything else before but wait.
func (c *contender) result() step {
	c.t.Helper()
	limit := time.After(bound)
	for {
		select {
		case s, ok := <-c.steps:
			switch {
			case !ok:
				c.t.Fatalf("process %d ended without a result", c.number)
			case s.Name == "result":
				return s
			case s.Name != "locked":
				c.t.Fatalf("process %d: %+v", c.number, s)
			}
		case <-limit:
			c.t.Fatalf("process %d: no result", c.number)
		}
	}
}

// order tells the process what becomes of its work.
func (c *contender) order(text string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.stdin, text); err != nil {
		c.t.Fatalf("process %d: %v", c.number, err)
	}
}

func (c *contender) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("process %d: %v", c.number, err)
	}
}

// kill ends the process (SIGKILL), if it has not ended.
func (c *contender) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// first returns the process of several that is granted the next attempt, and that attempt.
func first(t *testing.T, cs []*contender) (*contender, step) {
	t.Helper()
	type grant struct {
		c *contender
		s step
	}
	grants := make(chan grant)
	stop := make(chan struct{})
	done := make(chan struct{}, len(cs))
	for _, c := range cs {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case s, ok := <-c.steps:
					if !ok {
						return
					}
					if s.Name == "locked" {
						continue
					}
					select {
					case grants <- grant{c, s}:
					case <-stop:
						c.t.Errorf("process %d too: %+v", c.number, s)
					}
					return
				case <-stop:
					return
				}
			}
		}()
	}
	var g grant
	select {
	case g = <-grants:
	case <-time.After(bound):
	}
	close(stop)
	for range cs {
		<-done
	}
	switch {
	case g.c == nil:
		t.Fatal("nobody was granted an attempt")
	case g.s.Name != "acquired":
		t.Fatalf("process %d: %+v", g.c.number, g.s)
	}
	return g.c, g.s
}

// others returns all but one.
func others(cs []*contender, but *contender) []*contender {
	return slices.DeleteFunc(slices.Clone(cs), func(c *contender) bool { return c == but })
}
