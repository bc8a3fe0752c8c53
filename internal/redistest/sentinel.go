package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	sentinelName = "main" // what the sentinel calls its primary
	sentinelFile = "sentinel.conf"
)

// Sentinel is a primary and its replica on loopback, watched by one sentinel, which decides alone, and soon, that the
// primary is down.
type Sentinel struct {
	t       testing.TB
	servers []*node // the primary, the replica, the sentinel
}

// StartSentinel starts the three for this test, with these options for primary and replica, and returns when the sentinel
// would fail over: half a second after the primary has become silent. The test is skipped, as by [Start], if no
// redis-server of its own is to be had, and also without one on PATH: in containers they would not find each other.
func StartSentinel(t testing.TB, options ...Option) *Sentinel {
	t.Helper()
	if from := require(t, Own); from != fromProgram {
		t.Skip("needs a redis-server on PATH, to start a sentinel")
	}
	s := &Sentinel{t: t}
	t.Cleanup(func() {
		for _, n := range slices.Backward(s.servers) { // the sentinel first
			if err := n.close(); err != nil {
				t.Error(err)
			}
		}
	})
	ctx := t.Context()
	options = append(slices.Clone(options), Config("repl-diskless-sync-delay", "0"))
	primary := s.start(ctx, newSpec(options))
	host, port, err := net.SplitHostPort(primary.options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := s.start(ctx, newSpec(append(options, Config("replicaof", host, port))))
	s.await(replica, isLinked)
	sentinel := s.start(ctx, spec{sentinel: fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\n"+
		"sentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 5000\n", sentinelName, host, port)})
	s.await(sentinel, knowsReplica)
	return s
}

func (s *Sentinel) start(ctx context.Context, how spec) *node {
	s.t.Helper()
	n, err := startOwn(ctx, fromProgram, how)
	if err != nil {
		s.t.Fatal(err)
	}
	s.servers = append(s.servers, n)
	return n
}

func (s *Sentinel) await(n *node, check func(context.Context, *redis.Client) error) {
	s.t.Helper()
	err := retry(s.t.Context(), clusterBound, func(ctx context.Context) error { return n.ask(ctx, check) })
	if err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// isLinked reports whether a replica has its primary's data.
func isLinked(ctx context.Context, replica *redis.Client) error {
	role, err := replica.Do(ctx, "role").Slice() // slave, host, port, state, offset
	if err == nil && (len(role) < 4 || role[3] != "connected") {
		err = fmt.Errorf("the replica is not linked to its primary: %v", role)
	}
	return err
}

// knowsReplica reports whether a sentinel knows one that it could promote.
func knowsReplica(ctx context.Context, sentinel *redis.Client) error {
	o := sentinel.Options()
	client := redis.NewSentinelClient(&redis.Options{Addr: o.Addr, MaxRetries: -1, ReadTimeout: askTimeout})
	defer func() { _ = client.Close() }()
	replicas, err := client.Replicas(ctx, sentinelName).Result()
	switch {
	case err != nil:
		return err
	case len(replicas) != 1 || replicas[0]["flags"] != "slave" || replicas[0]["master-link-status"] != "ok":
		return errors.New("the sentinel has not seen the replica")
	}
	return nil
}

// Primary returns the server that began as the primary.
func (s *Sentinel) Primary() *Server { return &Server{t: s.t, node: s.servers[0]} }

// Replica returns the server that began as its replica.
func (s *Sentinel) Replica() *Server { return &Server{t: s.t, node: s.servers[1]} }

// Options returns fresh options for a client that asks the sentinel who the primary is, go-redis's defaults but for the
// name and the address.
func (s *Sentinel) Options() *redis.FailoverOptions {
	return &redis.FailoverOptions{MasterName: sentinelName, SentinelAddrs: []string{s.servers[2].options().Addr}}
}

// Client returns a client with [Sentinel.Options], closed when t ends.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewFailoverClient(s.Options())
	t.Cleanup(func() { _ = c.Close() })
	return c
}
