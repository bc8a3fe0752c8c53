//go:build unix

package lock_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// childVariable holds the order of a test binary that was started by a test.
const childVariable = "LOCK_TEST_CHILD"

// An order tells a child process what to do.
type order struct {
	Role      string
	URL       string
	Namespace string
	Resource  string
	Run       string
	TTL       time.Duration
	Max       int
	For       time.Duration
}

// A step is what a child has done, told in one line.
type step struct {
	Step     string
	Kind     string `json:",omitempty"`
	Resource string `json:",omitempty"`
	Cause    string `json:",omitempty"`
	Attempt  int    `json:",omitempty"`
	tenure
}

// roles are what a child can be.
var roles = map[string]func(t *testing.T, o order, l *lock.Locker, rdb *redis.Client){
	"holder":    holderRole,
	"worker":    workerRole,
	"contender": contenderRole,
	"watcher":   watcherRole,
}

// TestChildProcess is what a child runs. Its standard input ends with its parent.
func TestChildProcess(t *testing.T) {
	text := os.Getenv(childVariable)
	if text == "" {
		return // not a child
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {
		case orphaned <- struct{}{}:
		case <-time.After(time.Second):
			os.Exit(3)
		}
	}()
	options, err := redis.ParseURL(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(options)
	l := newLockerOn(t, rdb, lock.Config{Namespace: o.Namespace})
	roles[o.Role](t, o, l, rdb)
	_ = l.Close()
	say(step{Step: "end"})
	<-orphaned // until the parent lets go
}

// say tells the parent.
func say(s step) {
	line, _ := json.Marshal(s)
	fmt.Printf("\n%s\n", line)
}

// holderRole waits for a lock, and tells when it has it and when it is lost.
func holderRole(t *testing.T, o order, l *lock.Locker, _ *redis.Client) {
	say(step{Step: "waits"})
	lease, err := l.Hold(context.Background(), lock.Claim{Resource: o.Resource, TTL: o.TTL})
	if err != nil {
		t.Fatal(err)
	}
	say(step{Step: "granted", tenure: tenure{Fence: lease.Fence()}})
	<-lease.Context().Done()
	say(step{Step: "lost", Cause: context.Cause(lease.Context()).Error()})
}

// workerRole works on a job until its lease is lost, and then tries to settle
// as done what is not its own any more.
func workerRole(t *testing.T, o order, l *lock.Locker, _ *redis.Client) {
	id := lock.JobID{Key: o.Resource, Run: o.Run}
	lease, res, err := attempt(context.Background(), l, id, o.TTL, o.Max)
	if err != nil {
		t.Fatal(err)
	}
	say(step{Step: "granted", Attempt: res.Job.Attempt, tenure: tenure{Fence: res.Grant.Fence}})
	<-lease.Context().Done()
	say(step{Step: "lost", Cause: context.Cause(lease.Context()).Error()})
	_, err = l.Jobs().Settle(bounded(t), lock.Settlement{Grant: lease.Grant(), ID: id, End: lock.Done})
	say(step{Step: "settled", Cause: fmt.Sprint(err)})
}

// contenderRole contends for a lock, and tells each tenure.
func contenderRole(t *testing.T, o order, l *lock.Locker, rdb *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), o.For)
	defer cancel()
	say(step{Step: "begun"})
	contend(ctx, t, l, rdb, o.Resource, func(te tenure) { say(step{Step: "tenure", tenure: te}) })
}

// watcherRole tells every event.
func watcherRole(t *testing.T, _ order, l *lock.Locker, _ *redis.Client) {
	events, err := l.Watch(context.Background(), lock.EventExpire)
	if err != nil {
		t.Fatal(err)
	}
	say(step{Step: "live"})
	for e := range events {
		say(step{Step: "event", Kind: e.Kind.String(), Resource: e.Resource, tenure: tenure{Fence: e.Fence}})
	}
}

// A child is a process of the test's.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	steps chan step
}

// spawn starts a child. It ends with the test: by its own id, and, since its
// standard input is a pipe, also when the test binary is killed. It leads a
// process group of its own, so that the kernel then ends it even if it is stopped.
func spawn(t testing.TB, s *redistest.Server, o order) *child {
	t.Helper()
	if o.URL == "" {
		o.URL = s.URL()
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestChildProcess$", "-test.timeout=5m"), steps: make(chan step, 1<<16)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.steps)
		for in := bufio.NewScanner(out); in.Scan(); {
			line := in.Text()
			var st step
			if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &st) == nil {
				c.steps <- st
			} else if strings.TrimSpace(line) != "" {
				fmt.Fprintf(os.Stderr, "child %s %d: %s\n", o.Role, c.cmd.Process.Pid, line)
			}
		}
	}()
	t.Cleanup(func() {
		c.kill()
		<-read
		_ = c.cmd.Wait()
	})
	return c
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%v to a child: %v", s, err)
	}
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// await takes the child's next step, which must be this one.
func (c *child) await(name string) step {
	c.t.Helper()
	select {
	case st, ok := <-c.steps:
		if !ok || st.Step != name {
			c.t.Fatalf("the child did %+v, want %q", st, name)
		}
		return st
	case <-time.After(30 * time.Second):
		c.t.Fatalf("the child did not come to %q", name)
		panic("unreachable")
	}
}
