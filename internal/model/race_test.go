//go:build race

package model_test

// The race detector finds nothing here, where there is one goroutine, and makes it
// ten times as slow.
const (
	states     = 20_000
	ruleStates = 100_000
)
