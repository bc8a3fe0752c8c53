//go:build !linux

package main

import "os/exec"

// dieWithParent does nothing: only Linux can. A server outlives this program where it is killed.
func dieWithParent(*exec.Cmd) {}
