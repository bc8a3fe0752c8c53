package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Current returns who is the primary, as the sentinel has it, and who the other one.
func (s *Sentinel) Current() (primary, replica *Server) {
	s.t.Helper()
	var addr string
	s.await(s.servers[2], func(ctx context.Context, sentinel *redis.Client) (err error) {
		addr, err = currentAddr(ctx, sentinel)
		return err
	})
	if addr == s.Primary().Addr() {
		return s.Primary(), s.Replica()
	}
	return s.Replica(), s.Primary()
}

func currentAddr(ctx context.Context, sentinel *redis.Client) (string, error) {
	at := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", sentinelName)
	if err := sentinel.Process(ctx, at); err != nil {
		return "", err
	}
	return net.JoinHostPort(at.Val()[0], at.Val()[1]), nil
}

// DownAfter sets how long the primary must be silent until the sentinel fails over.
func (s *Sentinel) DownAfter(d time.Duration) {
	s.t.Helper()
	s.await(s.servers[2], func(ctx context.Context, sentinel *redis.Client) error {
		return sentinel.Do(ctx, "sentinel", "set", sentinelName, "down-after-milliseconds", d.Milliseconds()).Err()
	})
}

// AwaitPromotion returns when a server is the primary, and the sentinel has it as that.
func (s *Sentinel) AwaitPromotion(promoted *Server) {
	s.t.Helper()
	s.await(s.servers[2], func(ctx context.Context, sentinel *redis.Client) error {
		addr, err := currentAddr(ctx, sentinel)
		if err == nil && addr != promoted.Addr() {
			err = fmt.Errorf("the primary is still %s", addr)
		}
		return err
	})
	s.await(promoted.node, func(ctx context.Context, c *redis.Client) error {
		role, err := c.Do(ctx, "role").Slice()
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("%s is a %v", promoted.Addr(), role[0])
		}
		return err
	})
}

// Rejoin restarts a server that was killed as the replica of the present primary, and returns when the sentinel would
// fail over to it.
func (s *Sentinel) Rejoin(killed *Server) {
	s.t.Helper()
	primary, _ := s.Current()
	if primary.same(killed) {
		s.t.Fatalf("redistest: %s is the primary: nobody was promoted", killed)
	}
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	killed.Restart()
	s.await(killed.node, func(ctx context.Context, c *redis.Client) error { return c.Do(ctx, "replicaof", host, port).Err() })
	s.await(killed.node, isLinked)
	s.await(s.servers[2], knowsReplica)
}

// AppendOnlyFile returns what a server with [AppendOnly], which may have been killed, has written since it was started, or
// since it took all data of a primary.
func (s *Server) AppendOnlyFile() ([]byte, error) {
	p, ok := s.node.machine.(*process)
	if !ok {
		return nil, errors.New("redistest: the server is not a process of ours")
	}
	parts, err := filepath.Glob(filepath.Join(p.folder, "appendonlydir", "*.incr.aof"))
	if err != nil {
		return nil, err
	}
	slices.Sort(parts)
	var text []byte
	for _, part := range parts {
		more, err := os.ReadFile(part) //nolint:gosec // in a folder of our own
		if err != nil {
			return nil, err
		}
		text = append(text, more...)
	}
	return text, nil
}
