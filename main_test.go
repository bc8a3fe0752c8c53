package lockingworker_test

import (
	"os"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(processVariable); spec != "" {
		os.Exit(runProcess(spec))
	}
	redistest.Main(m)
}
