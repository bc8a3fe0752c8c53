//go:build !race

package sim

// What go test takes without being told more.
const (
	usualSeeds = 12
	usualScale = "tiny"
)
