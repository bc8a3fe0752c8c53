package workerotel_test

import (
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
