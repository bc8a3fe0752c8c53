package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	masters   = 3
	slotCount = 16384
)

// A cluster is a Redis Cluster of three masters.
type cluster struct {
	nodes []*server
}

// startCluster starts the servers and makes them one cluster.
func startCluster(ctx context.Context) (_ *cluster, err error) {
	c := new(cluster)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	for i := range masters {
		s, err := startServer(ctx, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-announce-ip", "127.0.0.1")
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, s)
		if err := s.admin.Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return nil, err
		}
		if err := s.admin.ClusterAddSlotsRange(ctx, i*slotCount/masters, (i+1)*slotCount/masters-1).Err(); err != nil {
			return nil, err
		}
	}
	for i, a := range c.nodes {
		for _, b := range c.nodes[i+1:] {
			host, port, _ := strings.Cut(b.addr, ":")
			if err := a.admin.ClusterMeet(ctx, host, port).Err(); err != nil {
				return nil, err
			}
		}
	}
	return c, c.await(ctx)
}

// await returns when every node sees all slots served by as many masters as there are.
func (c *cluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	for _, n := range c.nodes {
		for !n.complete(ctx) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the cluster is not complete: %w", ctx.Err())
			}
		}
	}
	return nil
}

func (s *server) complete(ctx context.Context) bool {
	info, err := s.admin.ClusterInfo(ctx).Result()
	return err == nil && strings.Contains(info, "cluster_state:ok") &&
		strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", masters)) &&
		strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", masters))
}

func (c *cluster) addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.addr
	}
	return addrs
}

// client returns a client of the cluster that connects by dial.
func (c *cluster) client(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.addrs(), Dialer: dial})
}

func (c *cluster) empty(ctx context.Context) error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.empty(ctx))
	}
	return errors.Join(errs...)
}

func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.stop())
	}
	return errors.Join(errs...)
}
