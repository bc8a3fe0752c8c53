//go:build !linux

package lock

import "time"

var started = time.Now()

// suspended guesses how long the machine has slept: how much more time the wall
// clock counts than the monotonic one. A wall clock that is set forward looks
// the same, and ends leases early, which is safe.
func suspended() time.Duration {
	return time.Now().Round(0).Sub(started.Round(0)) - time.Since(started)
}
