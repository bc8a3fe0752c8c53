//go:build !linux

package redistest

import "os/exec"

// dieWithParent does nothing: only Linux has a parent-death signal. Elsewhere a server outlives a test binary that is
// killed before Main can stop it.
func dieWithParent(*exec.Cmd) {}

// stopped takes the signal's word for it.
func stopped(int) bool { return true }
