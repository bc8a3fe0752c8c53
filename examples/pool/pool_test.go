package main

import (
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestEachJobIsDoneOnce(t *testing.T) {
	t.Parallel()
	for _, real := range []bool{false, true} {
		t.Run(map[bool]string{false: "embedded", true: "real"}[real], func(t *testing.T) {
			t.Parallel()
			args, redis := []string{"-processes", "4", "-jobs", "300", "-lease", "1m"}, "embedded"
			if real {
				server := redistest.Start(t, redistest.Own)
				args, redis = append(args, "-redis", server.URL()), server.Addr()
			}
			p := demotest.Start(t, args...)
			status, s := p.Finish()
			delete(s, "elapsed")
			want := demotest.Summary{
				"outcome": "completed", "jobs": "300", "once": "300", "repeated": "0", "missing": "0", "processes": "4", "killed": "0", "redis": redis,
			}
			if status != 0 || !maps.Equal(s, want) {
				t.Errorf("exit status %d, %v, want %v", status, s, want)
			}
			if p.Count(`^the processes that lived did \d+ to \d+ works each`) != 1 {
				t.Error("it is not told how they shared it")
			}
		})
	}
}

// What the killed had at hand is done by others; what is repeated the program itself compares with who was killed.
func TestKilledProcessesLeaveNothingUndone(t *testing.T) {
	t.Parallel()
	for _, real := range []bool{false, true} {
		t.Run(map[bool]string{false: "embedded", true: "real"}[real], func(t *testing.T) {
			t.Parallel()
			args := []string{"-processes", "4", "-jobs", "300", "-lease", "2s", "-kill", "2", "-work", "20ms"}
			if real {
				args = append(args, "-redis", redistest.Start(t, redistest.Own).URL())
			}
			p := demotest.Start(t, args...)
			status, s := p.Finish()
			if status != 0 || s["outcome"] != "completed" || s.Int("missing") != 0 || s.Int("once")+s.Int("repeated") != 300 || s.Int("killed") != 2 {
				t.Errorf("exit status %d, %v", status, s)
			}
			if p.Count(`^process \d is killed$`) != 2 {
				t.Error("not two were killed")
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-processes", "3", "-jobs", "100", "-work", "1m")
	p.Await(`^3 processes`)
	p.Signal(syscall.SIGTERM)
	if status, s := p.Finish(); status != 1 || s["outcome"] != "interrupted" || s.Int("missing") != 100 {
		t.Errorf("exit status %d, %v", status, s)
	}
}

// The count is what proves that each job was done once, so it has to notice when that is not so.
func TestLedgerNotices(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		lines          []string
		killed         []int
		once, repeated int
		bad            bool
	}{
		{"once each", []string{"process 1 did a", "process 2 did b"}, nil, 2, 0, false},
		{"again, by nobody's death", []string{"process 1 did a", "process 2 did b", "process 2 did a"}, nil, 1, 1, true},
		{"again, by the same one", []string{"process 1 did a", "process 1 did a"}, nil, 0, 1, true},
		{"again, after a death", []string{"process 1 did a", "process 2 did b", "process 2 did a"}, []int{1}, 1, 1, false},
		{"again, after another one's death", []string{"process 1 did a", "process 2 did a"}, []int{2}, 0, 1, true},
		{"again, after a lost lease", []string{"process 1 did a", "process 1 lost a", "process 2 did a"}, nil, 0, 1, false},
		{"again, told late of a lost lease", []string{"process 1 did a", "process 2 did a", "process 1 lost a"}, nil, 0, 1, false},
		{"again, after another's lost lease", []string{"process 1 did a", "process 2 lost a", "process 2 did a"}, nil, 0, 1, true},
		{"again, after another job's lost lease", []string{"process 1 did a", "process 1 lost b", "process 2 did a"}, nil, 0, 1, true},
		{"three times, after two deaths", []string{"process 1 did a", "process 2 did a", "process 3 did a"}, []int{2, 1}, 0, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			l.killed = tt.killed
			for _, line := range tt.lines {
				if _, _, err := l.add(line); err != nil {
					t.Fatal(err)
				}
			}
			once, repeated, err := l.count()
			if once != tt.once || repeated != tt.repeated || (err != nil) != tt.bad {
				t.Errorf("%d once, %d repeated, %v", once, repeated, err)
			}
		})
	}
	for _, line := range []string{"goroutine 1 [running]:", "process x did a", "process 1 was here", ""} {
		l := newLedger()
		if _, _, err := l.add(line); err == nil {
			t.Errorf("%q is counted", line)
		}
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"-job 3", 2, "-job"},
		{"8", 2, `"8"`},
		{"-processes 0", 2, "-processes 0"},
		{"-jobs 0", 2, "-jobs 0"},
		{"-processes 3 -kill 3", 2, "-kill 3"},
		{"-processes 1 -jobs 1 -concurrency -1", 1, "Concurrency"},
		{"-redis redis://u:sesame/#@127.0.0.1:1", 1, "want redis://"},
		{"-redis redis://u:sesame@127.0.0.1:1", 1, "redis at 127.0.0.1:1"},
		{"-help", 0, "-jobs"},
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
