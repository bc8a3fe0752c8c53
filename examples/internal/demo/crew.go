package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// variable says, in the environment of a process, what it is to be.
const variable = "LOCKINGWORKER_EXAMPLE"

// patience is how long a process that is to end may take, before it is killed.
const patience = 10 * time.Second

// Crew is the processes that an example starts of itself.
type Crew struct {
	// Lines is what they print, in the order in which they wrote it, which only holds for short lines, each written in
	// one piece. It has to be read, and is closed after NoMore, when all have ended.
	Lines <-chan string
	// Ended is told of each process that has ended. What it printed may still be in Lines.
	Ended <-chan *Process

	ctx   context.Context
	ended chan *Process
	out   *os.File
}

// NewCrew makes one without processes. When ctx ends, so do their inputs, and they leave.
func NewCrew(ctx context.Context) (*Crew, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	lines, ended := make(chan string), make(chan *Process, 1000)
	go func() {
		defer close(lines)
		defer func() { _ = in.Close() }()
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return &Crew{Lines: lines, Ended: ended, ctx: ctx, ended: ended, out: out}, nil
}

// Process is one of them.
type Process struct {
	Number int
	Err    error // how it ended

	cmd *exec.Cmd
}

// Start starts this program again; there IsChild finds the role. Processes die with the thread that started them, so it
// is for the main goroutine.
func (c *Crew) Start(number int, role any) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(role)
	if err != nil {
		return nil, err
	}
	p := &Process{Number: number, cmd: exec.CommandContext(c.ctx, program)}
	p.cmd.Env = append(os.Environ(), variable+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = c.out, os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Cancel, p.cmd.WaitDelay = stdin.Close, patience
	dieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.Err = p.cmd.Wait()
		c.ended <- p
	}()
	return p, nil
}

// NoMore says that all processes have been started.
func (c *Crew) NoMore() { _ = c.out.Close() }

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Terminate asks the process to end, as an orchestrator does.
func (p *Process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// Kill ends the process at once.
func (p *Process) Kill() error { return p.cmd.Process.Kill() }

// IsChild reports whether this process was started by Start, and fills in its role.
func IsChild(role any) bool {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return false
	}
	if err := json.Unmarshal([]byte(text), role); err != nil {
		panic(fmt.Sprintf("%s: %v", variable, err)) // it was made by Start
	}
	return true
}
