package redistest

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

// StartReplicated starts a primary and n replicas of it for this test, with these options, and returns when they
// acknowledge what it writes. Nobody fails over. A replica that was killed or stopped is followed again after [Server.Restart] or
// [Server.Continue], with [AwaitReplicas]. The test is skipped as by [StartSentinel].
func StartReplicated(t testing.TB, n int, options ...Option) (primary *Server, replicas []*Server) {
	t.Helper()
	if from := require(t, Own); from != fromProgram {
		t.Skip("needs a redis-server on PATH, to start replicas")
	}
	// The stream of replication has only what the test writes.
	options = append(options[:len(options):len(options)], Config("repl-diskless-sync-delay", "0"), Config("repl-ping-replica-period", "3600"), Config("repl-timeout", "7200"))
	primary = Start(t, Own, options...)
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		replicas = append(replicas, Start(t, Own, append(options[:len(options):len(options)], Config("replicaof", host, port))...))
	}
	AwaitReplicas(t, primary, n)
	return primary, replicas
}

// AwaitReplicas returns when n replicas acknowledge what a primary writes.
func AwaitReplicas(t testing.TB, primary *Server, n int) {
	t.Helper()
	// One that has been sent all data counts at once for what was written before it came, whether it has loaded them or
	// not. So it is asked twice.
	for range 2 {
		awaitAcks(t, primary, n)
	}
}

func awaitAcks(t testing.TB, primary *Server, n int) {
	t.Helper()
	err := retry(t.Context(), clusterBound, func(ctx context.Context) error {
		return primary.node.ask(ctx, func(ctx context.Context, c *redis.Client) error {
			acks := redis.NewIntCmd(ctx, "wait", n, (askTimeout / 2).Milliseconds())
			_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error { // on one connection, of which WAIT speaks
				pipe.Publish(ctx, "redistest", "") // is replicated, and leaves nothing behind
				return pipe.Process(ctx, acks)
			})
			if err == nil && acks.Val() != int64(n) {
				err = fmt.Errorf("%d of %d replicas acknowledge", acks.Val(), n)
			}
			return err
		})
	})
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
}
