package lock

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns how long the machine has slept since it started: what
// CLOCK_BOOTTIME counts and Go's monotonic clock does not.
func suspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
