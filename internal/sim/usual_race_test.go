//go:build race

package sim

// What go test -race takes, which is about ten times as slow.
const (
	usualSeeds = 3
	usualScale = "least"
)
