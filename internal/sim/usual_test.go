//go:build !race

package sim

// usualSeeds is what go test takes without being told.
const usualSeeds = 20
