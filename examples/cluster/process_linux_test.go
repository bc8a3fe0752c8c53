package main

import (
	"syscall"
	"testing"
	"time"
)

// A stopped worker cannot leave by itself.
func TestStoppedWorkerEndsWithItsParent(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "2", "-success", "1", "-work", "60s")
	_, process := p.awaitAcquired()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Kill() }) // where the kernel does not
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.gone:
	case <-time.After(bound):
		t.Error("a worker is still there")
	}
}
