package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestUnmetNeedIsSaid(t *testing.T) {
	for _, test := range []struct {
		name    string
		env     map[string]string
		need    redistest.Need
		skipped string
		fatal   string
	}{
		{"real, but embedded", map[string]string{"REDISTEST": "embedded"}, redistest.Real, "needs a real redis-server: ", ""},
		{"own, but embedded", map[string]string{"REDISTEST": "embedded"}, redistest.Own, "needs a real redis-server that it may", ""},
		{"own, but a URL", map[string]string{"REDISTEST": "url", "REDIS_URL": "redis://localhost"}, redistest.Own,
			"needs a real redis-server that it may", ""},
		{"skip forbidden", map[string]string{"REDISTEST": "embedded", "REDISTEST_REQUIRE_REAL": "1"}, redistest.Real, "",
			"forbids to skip"},
		{"forced, not there", map[string]string{"REDISTEST": "redis-server", "PATH": "/nowhere"}, redistest.Any, "",
			"not on PATH"},
		{"forced URL, not set", map[string]string{"REDISTEST": "url", "REDIS_URL": ""}, redistest.Any, "", "REDIS_URL is not set"},
		{"unknown", map[string]string{"REDISTEST": "redis"}, redistest.Any, "", "want url, redis-server, docker or embedded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("REDISTEST_REQUIRE_REAL", "")
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			r := &recorder{TB: t}
			r.run(func() { redistest.Start(r, test.need) })
			if !strings.Contains(r.skipped, test.skipped) || (r.skipped == "") != (test.skipped == "") {
				t.Errorf("skipped: %q, want %q", r.skipped, test.skipped)
			}
			if !strings.Contains(r.fatal, test.fatal) || (r.fatal == "") != (test.fatal == "") {
				t.Errorf("failed: %q, want %q", r.fatal, test.fatal)
			}
		})
	}
}

// child is this test binary once more, with another environment, running one test.
func child(t *testing.T, test string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "REDIS_URL=", "REDISTEST=", "REDISTEST_REQUIRE_REAL=")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func TestWhatServedIsPrinted(t *testing.T) {
	t.Parallel()
	nothingButGo := []string{"PATH=/nowhere", "DOCKER_HOST=unix:///nowhere"}
	for _, test := range []struct {
		name, test string
		env        []string
		fails      bool
		want       []string
	}{
		{"nothing but Go", "TestAnyServes", nothingButGo, false,
			[]string{"redistest: embedded miniredis on 127.0.0.1:"}},
		{"nothing but Go, real needed", "TestRealIsReal", nothingButGo, false,
			[]string{"needs a real redis-server", "redistest: tests skipped for want of a real redis-server: 1"}},
		{"a URL that is dead", "TestAnyServes", []string{"REDIS_URL=redis://:hush@127.0.0.1:1"}, true,
			[]string{"--- FAIL", "refused"}},
		{"a URL to elsewhere", "TestAnyServes", []string{"REDIS_URL=redis://:hush@192.0.2.1:6379"}, true,
			[]string{"--- FAIL", "loopback addresses only"}},
		{"a URL that is none", "TestAnyServes", []string{"REDIS_URL=http://:hush@127.0.0.1"}, true,
			[]string{"--- FAIL", "not a Redis URL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			runChild(t, child(t, test.test, test.env...), test.fails, test.want...)
		})
	}
}

func TestServerOfAnotherIsUsedAndLeftEmpty(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	runChild(t, child(t, "TestAnyServes", "REDIS_URL="+server.URL()), false,
		"redistest: redis-server ", " on "+server.Addr()+" (REDIS_URL)")
	stats, err := redistest.Commandstats(t.Context(), server.Client(t))
	if err != nil || stats["set"] != 1 {
		t.Errorf("commands: %v, %v", stats, err)
	}
	if n, err := server.Client(t).DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("%d keys were left, %v", n, err)
	}
}

// runChild looks at how a child ends and what it prints.
func runChild(t *testing.T, cmd *exec.Cmd, fails bool, wants ...string) {
	t.Helper()
	output, err := cmd.CombinedOutput()
	if (err != nil) != fails {
		t.Errorf("ended with %v", err)
	}
	for _, want := range wants {
		if !strings.Contains(string(output), want) {
			t.Errorf("%q is not in its output", want)
		}
	}
	if strings.Contains(string(output), "hush") {
		t.Error("the password is in its output")
	}
	if t.Failed() {
		t.Logf("output:\n%s", output)
	}
}

// TestHoldServer is the child of the next test.
func TestHoldServer(t *testing.T) {
	if os.Getenv("REDISTEST_HOLD") == "" {
		t.Skip("runs as a child only")
	}
	server := redistest.Start(t, redistest.Own)
	if _, err := os.Stdout.WriteString("\nserver " + server.Addr() + "\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil { // until the parent ends, if it does not kill
		t.Fatal(err)
	}
}

func TestServerDiesWithKilledTestBinary(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs Linux, whose processes can die with their parent, and a redis-server on PATH")
	}
	cmd := child(t, "TestHoldServer", "REDISTEST=redis-server", "REDISTEST_HOLD=1", "TMPDIR="+t.TempDir())
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = input.Close() }()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, found := "", false
	for lines := bufio.NewScanner(output); !found && lines.Scan(); {
		addr, found = strings.CutPrefix(lines.Text(), "server ")
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("the child's server %q: %v", addr, err)
	}
	defer func() { _ = c.Close() }()

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("the server outlived its test binary: %v", err)
	}
	_ = cmd.Wait() // it was killed
	// A process that is killed loses its sockets one after another, the one that it listens on perhaps last.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	eventually(t, ctx, func(context.Context) error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil //nolint:nilerr // refused: it is gone
		}
		_ = c.Close()
		return errors.New("the server outlived its test binary")
	})
}
