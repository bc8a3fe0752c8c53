package demo

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithParent has the kernel kill the process when the thread that starts it ends, which must therefore not end before
// the parent does. A process that is stopped (SIGSTOP) would not notice the end of its input.
func dieWithParent(cmd *exec.Cmd) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
