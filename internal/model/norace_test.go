//go:build !race

package model_test

// How many states of each weather the tests visit: a part of them, so that it takes
// about twenty seconds on one core. `make model` visits the rest.
const (
	states     = 600_000
	ruleStates = 0 // no limit: until something breaks
)
