package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel end the server when the thread that started it ends, however that comes about.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
