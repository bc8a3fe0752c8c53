// Package demotest does not test the examples; it runs them for their tests, as a user does: as a program, by its flags,
// output and exit status.
package demotest

import (
	"bufio"
	"bytes"
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

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// Bound is how long anything may take that a test waits for.
const Bound = 60 * time.Second

// variable makes a test binary, and the processes that it then starts, the program itself.
const variable = "LOCKINGWORKER_EXAMPLE_TEST"

// Main is for TestMain: it calls main in a program that Start started, and otherwise runs the tests.
func Main(m *testing.M, main func()) {
	if os.Getenv(variable) != "" {
		main()
		return
	}
	redistest.Main(m)
}

// Program is one run of a program.
type Program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	ended chan struct{}
	gone  chan struct{} // closed when its processes have ended as well: they have its standard error

	mu      sync.Mutex
	printed []string
	errors  bytes.Buffer
}

// Start starts the program with an environment that names no Redis. It is killed when the test ends.
func Start(t *testing.T, args ...string) *Program {
	t.Helper()
	p := &Program{t: t, lines: make(chan string, 100_000), ended: make(chan struct{}), gone: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REDIS_URL=") })
	p.cmd.Env = append(p.cmd.Env, variable+"=1", "GORACE=atexit_sleep_ms=0") // the detector waits for a second
	stdout, stderr := p.pipe(&p.cmd.Stdout), p.pipe(&p.cmd.Stderr)
	err := p.cmd.Start()
	for _, w := range []io.Writer{p.cmd.Stdout, p.cmd.Stderr} {
		if c, ok := w.(io.Closer); ok {
			_ = c.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		defer close(p.lines)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
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
			_, _ = fmt.Fprintln(&p.errors, lines.Text())
			p.mu.Unlock()
		}
	}()
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its status is in ProcessState
		<-printed
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%v printed:\n%s\n%s", args, strings.Join(p.Output(), "\n"), p.Errors())
		}
	})
	return p
}

// pipe makes a pipe whose other end the program, and only it, keeps open.
func (p *Program) pipe(w *io.Writer) io.Reader {
	p.t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	*w = out
	p.t.Cleanup(func() { _ = in.Close() })
	return in
}

// Output returns the lines that were printed so far.
func (p *Program) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.printed)
}

// Errors returns what was written to standard error so far.
func (p *Program) Errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors.String()
}

// Await returns the parts of the next line that matches.
func (p *Program) Await(pattern string) []string {
	p.t.Helper()
	re, limit := regexp.MustCompile(pattern), time.After(Bound)
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

// Signal sends the program a signal.
func (p *Program) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Finish waits for the end of the program and of its processes, and returns its exit status and its last line, which is
// the summary.
func (p *Program) Finish() (status int, s Summary) {
	p.t.Helper()
	limit := time.After(Bound)
	for _, end := range []chan struct{}{p.ended, p.gone} {
		select {
		case <-end:
		case <-limit:
			p.t.Fatal("the program does not end, or leaves processes behind")
		}
	}
	lines := p.Output()
	if n := len(lines); n > 0 {
		s = parse(lines[n-1])
	}
	return p.cmd.ProcessState.ExitCode(), s
}

// Count returns how many of the lines match.
func (p *Program) Count(pattern string) (n int) {
	re := regexp.MustCompile(pattern)
	for _, line := range p.Output() {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}

// Summary is what a program says last: names and values.
type Summary map[string]string

func parse(line string) Summary {
	s := Summary{}
	text, ok := strings.CutPrefix(line, "summary: ")
	if !ok {
		return s
	}
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		s[name] = value
	}
	return s
}

// Int returns a value that is a number, and -1 if it is none.
func (s Summary) Int(name string) int {
	n, err := strconv.Atoi(s[name])
	if err != nil {
		return -1
	}
	return n
}

// Duration returns a value that is a time, and -1 if it is none.
func (s Summary) Duration(name string) time.Duration {
	d, err := time.ParseDuration(s[name])
	if err != nil {
		return -1
	}
	return d
}

// Signal sends a signal to a process whose id was printed.
func Signal(t *testing.T, pid string, s os.Signal) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(n)
	if err == nil {
		err = process.Signal(s)
	}
	if err != nil {
		t.Fatal(err)
	}
}
