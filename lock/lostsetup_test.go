package lock_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// losing has a key deleted once, as soon as it was set up.
type losing struct {
	direct *redis.Client
	once   *sync.Once
}

func (h losing) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h losing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if args := cmd.Args(); len(args) > 1 && (args[0] == "setnx" || args[0] == "set") {
			h.once.Do(func() { h.direct.Del(ctx, args[1].(string)) })
		}
		return err
	}
}

func (h losing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The number of shards may be evicted, or flushed, between two of the commands that
// set a shard up: then it is set up again.
func TestNamespaceLostWhileItIsSetUp(t *testing.T) {
	server := redistest.Start(t, redistest.Any)
	rdb := server.Client(t)
	lost := losing{server.Client(t), new(sync.Once)}
	rdb.AddHook(lost)
	l := must[*lock.Locker](t)(lock.New(rdb, lock.Config{Namespace: server.Namespace(t)}))
	t.Cleanup(func() { _ = l.Close() })
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claim{Resource: "r", Owner: "me"}))
	lost.once.Do(func() { t.Error("nothing was lost") })
}
