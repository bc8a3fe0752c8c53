package main

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// A worker that dies is replaced when its lock times out, and half a second after that at the latest.
func TestKilledWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	p := start(t, "-workers", "4", "-success", "1", "-work", "60s", "-lock-timeout", "2s", "-redis", server.URL())
	first, process := p.awaitAcquired()
	killed := time.Now()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	second, _ := p.awaitAcquired()
	took := time.Since(killed)
	t.Logf("worker %d was killed; worker %d works after %v", first, second, took)
	if took > 2500*time.Millisecond || first == second {
		t.Errorf("worker %d was replaced by worker %d after %v", first, second, took)
	}
}

// The others go on, and the summary is about all of them.
func TestKilledWorkerBreaksNothing(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "3", "-success", "1", "-work", "200ms", "-lock-timeout", "2s")
	first, process := p.awaitAcquired()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.await(`^Worker \d ended: signal: killed$`)
	status, s := p.finish()
	if status != 0 || s.attempts != 2 || s.executions != 2 || s.winner == 0 || s.winner == first || s.workers != 3 {
		t.Errorf("worker %d was killed: exit status %d, %+v", first, status, s)
	}
}

func TestNobodyIsLeft(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "2", "-success", "1", "-work", "60s", "-lock-timeout", "2s")
	for range 2 {
		_, process := p.awaitAcquired()
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if status, s := p.finish(); status != 1 || s.outcome != "broken" || s.executions != 2 {
		t.Errorf("exit status %d, %+v", status, s)
	}
}

func TestWorkersEndWithTheirParent(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "3", "-success", "1", "-work", "60s")
	p.awaitAcquired()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.gone:
	case <-time.After(bound):
		t.Error("a worker is still there")
	}
}
