//go:build unix

package demo

import "syscall"

// CanPause says whether processes can be paused here.
const CanPause = true

// Pause stops the process until Resume, as a suspended machine is stopped.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a process that was paused run on.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
