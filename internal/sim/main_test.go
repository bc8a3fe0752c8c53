package sim

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{}) // connections break here all the time
	goleak.VerifyTestMain(m)
}

type silence struct{}

// Printf drops what the client would print.
func (silence) Printf(context.Context, string, ...any) {}
