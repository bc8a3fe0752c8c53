package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
	"github.com/lockingworker/lockingworker/internal/redistest"
)

// A leader that is told to end is replaced long before its lease would run out.
func TestTerminatedLeaderStepsDownAtOnce(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-scenes", "terminate", "-lease", "5m")
	status, s := p.Finish()
	if status != 0 || s["outcome"] != "completed" || s.Int("leaders") != 2 || s.Int("refused") != 0 || s.Int("writes") < 1 || s["redis"] != "embedded" {
		t.Errorf("exit status %d, %v", status, s)
	}
	if took := s.Duration("terminate"); took <= 0 || took > demotest.Bound {
		t.Errorf("it took %v", took)
	}
	if p.Count(`^Replica \d steps down$`) != 1 {
		t.Error("nobody stepped down")
	}
}

// A leader that dies is replaced when its lease has run out, of which a third may have passed since it was renewed.
func TestKilledLeaderIsReplacedAfterItsLease(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second
	p := demotest.Start(t, "-scenes", "kill", "-lease", lease.String())
	status, s := p.Finish()
	if status != 0 || s["outcome"] != "completed" || s.Int("leaders") < 2 {
		t.Errorf("exit status %d, %v", status, s)
	}
	if took := s.Duration("kill"); took < lease/4 || took > lease+2*time.Second { // the lease, and the promised 1.1 s
		t.Errorf("replaced after %v", took)
	}
}

func TestPausedLeaderStepsDownWhenItRunsAgain(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-scenes", "pause", "-lease", "2s")
	status, s := p.Finish()
	if status != 0 || s["outcome"] != "completed" || s.Int("leaders") < 2 || s.Duration("pause") <= 0 {
		t.Errorf("exit status %d, %v", status, s)
	}
	if p.Count(`^Replica \d steps down: lock: lease lost$`) == 0 {
		t.Error("nobody lost the lease")
	}
}

// By hand: the program goes on until it is interrupted, and replaces what is killed.
func TestLeaderKilledByHand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	p := demotest.Start(t, "-scenes", "", "-lease", "1s", "-redis", server.URL())
	leader := p.Await(`^Replica (\d+) leads`)[1]
	for _, line := range p.Output() {
		if pid, ok := strings.CutPrefix(line, "Replica "+leader+" is started, process "); ok {
			demotest.Signal(t, pid, os.Kill)
		}
	}
	p.Await(`^Replica ` + leader + ` has ended$`)
	p.Await(`^Replica 4 is started`)
	p.Await(`^Replica \d leads`)
	p.Signal(syscall.SIGTERM)
	if status, s := p.Finish(); status != 0 || s["outcome"] != "completed" || s.Int("leaders") < 2 || s["redis"] != server.Addr() {
		t.Errorf("exit status %d, %v", status, s)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-scenes", "kill", "-lease", "5m")
	p.Await(`^-- kill`)
	p.Signal(syscall.SIGTERM)
	if status, s := p.Finish(); status != 1 || s["outcome"] != "interrupted" {
		t.Errorf("exit status %d, %v", status, s)
	}
}

func TestReplicasEndWithTheirParent(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-scenes", "")
	p.Await(`^Replica \d leads`)
	p.Signal(os.Kill)
	p.Finish() // waits for all of them
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"-replica 3", 2, "-replica"},
		{"8", 2, `"8"`},
		{"-replicas 1", 2, "-replicas 1"},
		{"-lease 1ms", 2, "-lease 1ms"},
		{"-every 0s", 2, "-every 0s"},
		{"-scenes kill,eat", 2, `"eat"`},
		{"-redis redis://u:sesame/#@127.0.0.1:1", 1, "want redis://"},
		{"-redis redis://u:sesame@127.0.0.1:1", 1, "redis at 127.0.0.1:1"},
		{"-help", 0, "-scenes"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			p := demotest.Start(t, strings.Fields(tt.args)...)
			status, _ := p.Finish()
			if status != tt.status || !strings.Contains(p.Errors(), tt.want) || strings.Contains(p.Errors(), "sesame") {
				t.Errorf("exit status %d, standard error:\n%s", status, p.Errors())
			}
		})
	}
}
