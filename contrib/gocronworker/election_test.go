package gocronworker_test

import (
	"context"
	"sync/atomic"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
)

// election is a gocron.Elector that the test decides.
type election struct {
	wins  atomic.Bool
	asked chan struct{}
}

func (e *election) IsLeader(context.Context) error {
	defer func() { e.asked <- struct{}{} }()
	if e.wins.Load() {
		return nil
	}
	return gocronworker.ErrNotLeader
}
