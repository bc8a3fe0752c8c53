package redistest

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// startEmbedded starts a miniredis whose keys expire by the clock, as a server's do.
func startEmbedded() (*node, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.StartAddr(loopback + ":0"); err != nil {
		return nil, fmt.Errorf("redistest: start miniredis: %w", err)
	}
	return &node{
		from:  fromEmbedded,
		name:  "embedded miniredis",
		url:   "redis://" + m.Addr(),
		close: func() error { m.Close(); return nil },
	}, nil
}
