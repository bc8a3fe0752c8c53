package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// bound is how long anything may take that a test waits for.
const bound = 30 * time.Second

// program is one run of the program.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // what it prints
	ended chan struct{}
	gone  chan struct{} // closed when its workers have ended as well: they have its standard error

	mu      sync.Mutex
	printed []string
	errors  bytes.Buffer
}

// start starts the program with an environment that names no Redis. It is killed when the test ends.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := command(t, args...)
	p.begin()
	return p
}

func command(t *testing.T, args ...string) *program {
	p := &program{t: t, lines: make(chan string, 10_000), ended: make(chan struct{}), gone: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REDIS_URL=") })
	p.cmd.Env = append(p.cmd.Env, programVariable+"=1", "GORACE=atexit_sleep_ms=0") // the detector waits for a second
	return p
}

func (p *program) begin() {
	p.t.Helper()
	out := p.pipe(&p.cmd.Stdout)
	stderr := p.pipe(&p.cmd.Stderr)
	err := p.cmd.Start()
	p.cmd.Stdout.(io.Closer).Close()
	p.cmd.Stderr.(io.Closer).Close()
	if err != nil {
		p.t.Fatal(err)
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.printed = append(p.printed, lines.Text())
			p.mu.Unlock()
			p.lines <- lines.Text()
		}
	}()
	go func() {
		defer close(p.gone)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.errors, lines.Text())
			p.mu.Unlock()
		}
	}()
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its status is in ProcessState
		<-printed
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if p.t.Failed() {
			p.t.Logf("%v printed:\n%s\n%s", p.cmd.Args[1:], strings.Join(p.output(), "\n"), p.stderr())
		}
	})
}

// pipe makes a pipe whose other end the program, and only it, keeps open.
func (p *program) pipe(w *io.Writer) io.Reader {
	p.t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	*w = out
	p.t.Cleanup(func() { _ = in.Close() })
	return in
}

func (p *program) output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.printed)
}

func (p *program) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors.String()
}

// await returns the parts of the next line that matches.
func (p *program) await(pattern string) []string {
	p.t.Helper()
	re, limit := regexp.MustCompile(pattern), time.After(bound)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the program ended without printing %q", pattern)
			}
			if m := re.FindStringSubmatch(line); m != nil {
				return m
			}
		case <-limit:
			p.t.Fatalf("no line %q", pattern)
		}
	}
}

// awaitAcquired waits until a worker has begun to work, and returns its number and its process.
func (p *program) awaitAcquired() (number int, process *os.Process) {
	p.t.Helper()
	m := p.await(`^Worker (\d+) acquired lock for attempt #\d+ \(process (\d+), fence \d+\)$`)
	process, err := os.FindProcess(atoi(p.t, m[2]))
	if err != nil {
		p.t.Fatal(err)
	}
	return atoi(p.t, m[1]), process
}

// finish waits for the program's end, and returns its exit status and its summary.
func (p *program) finish() (status int, s result) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(bound):
		p.t.Fatal("the program does not end")
	}
	s, err := parseSummary(p.output())
	if err != nil {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), s
}

// result is a summary as it is read.
type result struct {
	outcome                               string
	attempts, executions, winner, workers int
	handover, longest, elapsed            time.Duration
	redis                                 string
}

// parseSummary reads the last line.
func parseSummary(lines []string) (s result, err error) {
	const format = "summary: outcome=%s attempts=%d executions=%d winner=%d workers=%d handover=%s handover_max=%s elapsed=%s redis=%s"
	if len(lines) == 0 {
		return s, errors.New("nothing was printed")
	}
	var handover, longest, elapsed string
	last := lines[len(lines)-1]
	_, err = fmt.Sscanf(last, format, &s.outcome, &s.attempts, &s.executions, &s.winner, &s.workers,
		&handover, &longest, &elapsed, &s.redis)
	if err != nil {
		return s, fmt.Errorf("last line %q: %w", last, err)
	}
	var errs [3]error
	s.handover, errs[0] = time.ParseDuration(handover)
	s.longest, errs[1] = time.ParseDuration(longest)
	s.elapsed, errs[2] = time.ParseDuration(elapsed)
	err = errors.Join(errs[:]...)
	return s, err
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// count returns how many of the lines match.
func count(lines []string, pattern string) (n int) {
	re := regexp.MustCompile(pattern)
	for _, line := range lines {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}
