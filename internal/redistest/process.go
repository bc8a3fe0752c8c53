package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// machine is what a server runs on: a process or a container. It keeps its port and its data from start to start.
type machine interface {
	addr() string
	pause() error
	resume() error
	kill() error
	restart(context.Context) error
	remove() error
}

// process is a redis-server child.
type process struct {
	spec   spec
	folder string
	port   int

	mu    sync.Mutex // orders what is done to the child
	child *child     // nil: never started
}

// child is one run of the process.
type child struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when it serves
	ended chan struct{} // closed when it has been waited for
	log   *tail
}

// startProcess starts a redis-server on a free port, in a folder of its own.
func startProcess(ctx context.Context, s spec) (*process, error) {
	folder, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	p := &process{spec: s, folder: folder}
	if s.sentinel != "" { // it keeps in this file what it finds out
		if err := os.WriteFile(filepath.Join(folder, sentinelFile), []byte(s.sentinel), 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("redistest: %w", err), p.remove())
		}
	}
	err = retry(ctx, startBound, func(ctx context.Context) error {
		if p.port, err = freePort(); err != nil {
			return err
		}
		return p.launch(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

func (p *process) addr() string { return address(p.port) }

// launch starts the child and returns when it serves. If the port was taken meanwhile, the error may be retried.
func (p *process) launch(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil && p.child.running() {
		return backoff.Permanent(errors.New("redistest: the server is running already"))
	}
	cmd := exec.Command("redis-server", p.spec.arguments(loopback, p.port)...)
	cmd.Dir = p.folder
	cmd.Env = append(os.Environ(), p.spec.environment...)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return backoff.Permanent(fmt.Errorf("redistest: %w", err))
	}
	cmd.Stderr = cmd.Stdout
	if err := binary.spawner.start(cmd); err != nil {
		return backoff.Permanent(fmt.Errorf("redistest: start redis-server: %w", err))
	}
	c := &child{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{}), log: new(tail)}
	p.child = c
	go c.watch(output)
	select {
	case <-c.ready:
		return nil
	case <-c.ended:
		err := fmt.Errorf("redistest: redis-server ended before it served: %s", c.log)
		if strings.Contains(c.log.String(), "Address already in use") {
			return err
		}
		return backoff.Permanent(err)
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("redistest: redis-server does not serve: %w: %s", ctx.Err(), c.log), c.kill())
	}
}

// watch reads the log to its end, and so learns from the very process that it has bound its port and loaded its data: a
// PING could be answered by somebody else who won a race for the port.
func (c *child) watch(output io.Reader) {
	lines := bufio.NewScanner(output)
	ready := false
	for lines.Scan() {
		c.log.add(lines.Text())
		if !ready && (strings.Contains(lines.Text(), "Ready to accept connections") || strings.Contains(lines.Text(), "Sentinel ID is ")) {
			ready = true
			close(c.ready)
		}
	}
	_, _ = io.Copy(io.Discard, output) // a line too long for the scanner must not block the server
	_ = c.cmd.Wait()                   // how it ended is in the log
	close(c.ended)
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("redistest: kill redis-server: %w", err)
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(commandBound):
		return fmt.Errorf("redistest: redis-server %d survived SIGKILL for %v", c.cmd.Process.Pid, commandBound)
	}
}

// current returns the running child.
func (p *process) current() (*child, error) {
	if p.child == nil || !p.child.running() {
		return nil, errors.New("redistest: the server is not running")
	}
	return p.child, nil
}

func (p *process) pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.current()
	if err != nil {
		return err
	}
	if err := pauseProcess(c.cmd.Process); err != nil {
		return fmt.Errorf("redistest: stop redis-server: %w", err)
	}
	return retry(context.Background(), commandBound, func(context.Context) error {
		if !stopped(c.cmd.Process.Pid) {
			return errors.New("redistest: redis-server runs on after SIGSTOP")
		}
		return nil
	})
}

func (p *process) resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.current()
	if err != nil {
		return err
	}
	return resumeProcess(c.cmd.Process)
}

func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.current()
	if err != nil {
		return err
	}
	return c.kill()
}

func (p *process) restart(ctx context.Context) error {
	return retry(ctx, startBound, p.launch)
}

func (p *process) remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.child != nil && p.child.running() {
		err = p.child.kill()
	}
	return errors.Join(err, os.RemoveAll(p.folder))
}

// tail keeps the last lines of a log, for error messages.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 20

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[len(t.lines)-tailLines:]
	}
}

// String returns the lines kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
