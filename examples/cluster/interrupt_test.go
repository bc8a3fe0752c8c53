//go:build unix

package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// An interrupted run leaves the job's record, which is forgotten later, and nothing else.
func TestInterruptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	working := []string{"-success", "1", "-work", "60s"}
	for _, tt := range []struct {
		name string
		args []string
		when string // the line at which it is interrupted
		send func(parent int) error
	}{
		{"Ctrl-C while one works", working, `acquired lock`, signalGroup},
		{"Ctrl-C while all wait but one", working, `Trying to reacquire lock`, signalGroup},
		{"Ctrl-C before anything", working, `^3 workers`, signalGroup},
		{"Ctrl-C during a hand-over", []string{"-success", "0", "-work", "1ms", "-max-attempts", "100000"}, `attempt #20$`, signalGroup},
		{"Ctrl-C during a delay", []string{"-success", "0", "-work", "1ms", "-retry-delay", "60s"}, `failed to do work`, signalGroup},
		{"SIGINT to the parent alone", working, `acquired lock`, signalParent(syscall.SIGINT)},
		{"SIGTERM to the parent alone", working, `acquired lock`, signalParent(syscall.SIGTERM)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Own)
			p := command(t, append([]string{"-workers", "3", "-key", "job", "-redis", server.URL()}, tt.args...)...)
			p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			p.begin()
			p.await(tt.when)
			interrupted := time.Now()
			if err := tt.send(p.cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			status, s := p.finish()
			if status != 1 || s.outcome != "interrupted" {
				t.Errorf("exit status %d, %+v", status, s)
			}
			if took := time.Since(interrupted); took >= patience {
				t.Errorf("it took %v: a worker had to be killed", took)
			}
			<-p.gone
			checkLeft(t, server.Client(t))
		})
	}
}

func signalGroup(parent int) error { return syscall.Kill(-parent, syscall.SIGINT) }

func signalParent(s syscall.Signal) func(int) error {
	return func(parent int) error { return syscall.Kill(parent, s) }
}

// checkLeft fails if there is anything in Redis but the namespace's own numbers and one record of a job at which nobody
// works.
func checkLeft(t *testing.T, client *redis.Client) {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		allowed := []string{"{lockingworker}:shards", "{lockingworker:0}:meta", "{lockingworker:0}:jobs", "{lockingworker:0}:retention"}
		if !slices.Contains(allowed, key) {
			t.Errorf("key %s is left", key)
		}
	}
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer locker.Close()
	for job, err := range locker.Jobs().List(t.Context(), lock.JobQuery{}) {
		if err != nil || job.ID.Key != "job" || job.State == lock.JobRunning {
			t.Errorf("job %+v, %v", job, err)
		}
	}
	if n := client.HLen(t.Context(), "{lockingworker:0}:jobs").Val(); n > 1 || client.ZCard(t.Context(), "{lockingworker:0}:retention").Val() != n {
		t.Errorf("%d records", n)
	}
}

// What was interrupted is not counted: others have all attempts.
func TestInterruptedAttemptIsGivenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	args := []string{"-workers", "2", "-success", "1", "-max-attempts", "1", "-key", "job", "-redis", server.URL()}
	p := start(t, append(args, "-work", "60s")...)
	p.awaitAcquired()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status, s := p.finish(); status != 1 || s.attempts != 0 {
		t.Errorf("exit status %d, %+v", status, s)
	}
	if status, s := start(t, args...).finish(); status != 0 || s.attempts != 1 {
		t.Errorf("exit status %d, %+v", status, s)
	}
}

// One worker that is told to end hands over at once, long before its lock would time out.
func TestTerminatedWorkerHandsOver(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "3", "-success", "1", "-work", "500ms", "-lock-timeout", "5m", "-max-attempts", "1")
	first, process := p.awaitAcquired()
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	status, s := p.finish()
	if status != 0 || s.attempts != 1 || s.executions != 2 || s.winner == first {
		t.Errorf("worker %d was terminated: exit status %d, %+v", first, status, s)
	}
}
