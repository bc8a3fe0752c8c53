package main

import (
	"os"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// programVariable makes the test binary, and the workers that it then starts, the program itself.
const programVariable = "LOCKINGWORKER_CLUSTER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	redistest.Main(m)
}
