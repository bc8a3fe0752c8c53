package main

import (
	"testing"

	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }
