package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	masters   = 3
	slotCount = 16384
)

// startCluster starts six servers and makes them one cluster.
func startCluster(ctx context.Context, from source, s spec) (_ *cluster, err error) {
	s.cluster = true
	nodes, closeNodes, err := startNodes(ctx, from, s)
	if err != nil {
		return nil, err
	}
	c := &cluster{nodes: nodes, close: closeNodes}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, step := range []func(context.Context) error{c.assign, c.meet, c.replicate, c.awaitComplete} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// startNodes starts all servers.
func startNodes(ctx context.Context, from source, s spec) ([]*node, func() error, error) {
	if from == fromDocker {
		d, err := docker()
		if err != nil {
			return nil, nil, err
		}
		if !d.hostOnly {
			return startPodNodes(ctx, s)
		}
	}
	return startAll(func(int) (*node, error) { return startOwn(ctx, from, s) })
}

// startAll starts all servers at once, or none. The function that it returns ends them.
func startAll(start func(i int) (*node, error)) ([]*node, func() error, error) {
	nodes := make([]*node, 2*masters)
	errs := make(chan error)
	for i := range nodes {
		go func() {
			var err error
			nodes[i], err = start(i)
			errs <- err
		}()
	}
	var err error
	for range nodes {
		err = errors.Join(err, <-errs)
	}
	end := func() error {
		errs := make(chan error)
		for _, n := range nodes {
			go func() {
				if n == nil {
					errs <- nil
					return
				}
				errs <- n.close()
			}()
		}
		var err error
		for range nodes {
			err = errors.Join(err, <-errs)
		}
		return err
	}
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return nodes, end, nil
}

// assign gives every node an epoch, and the first three their slots. Nodes with equal epochs would settle it among
// themselves, which takes a while, and an epoch can be given only to a node that has met no other.
func (c *cluster) assign(ctx context.Context) error {
	for i, n := range c.nodes {
		err := n.ask(ctx, func(ctx context.Context, client *redis.Client) error {
			if err := client.Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
				return fmt.Errorf("cluster set-config-epoch: %w", err)
			}
			if i >= masters {
				return nil
			}
			first, last := i*slotCount/masters, (i+1)*slotCount/masters-1
			if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
				return fmt.Errorf("cluster addslotsrange: %w", err)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
	}
	return nil
}

// meet introduces everybody to everybody, which is faster than waiting for gossip.
func (c *cluster) meet(ctx context.Context) error {
	for i, n := range c.nodes {
		err := n.ask(ctx, func(ctx context.Context, client *redis.Client) error {
			for _, other := range c.nodes[i+1:] {
				host, port, _ := strings.Cut(other.options().Addr, ":")
				if err := client.ClusterMeet(ctx, host, port).Err(); err != nil {
					return fmt.Errorf("cluster meet: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
	}
	return nil
}

// replicate makes the last three replicas of the first three, as soon as they know them.
func (c *cluster) replicate(ctx context.Context) error {
	for i, replica := range c.nodes[masters:] {
		var id string
		err := c.nodes[i].ask(ctx, func(ctx context.Context, client *redis.Client) (err error) {
			id, err = client.ClusterMyID(ctx).Result()
			return err
		})
		if err != nil {
			return fmt.Errorf("redistest: %w", err)
		}
		err = retry(ctx, clusterBound, func(ctx context.Context) error {
			return replica.ask(ctx, func(ctx context.Context, client *redis.Client) error {
				return client.ClusterReplicate(ctx, id).Err()
			})
		})
		if err != nil {
			return fmt.Errorf("redistest: cluster replicate: %w", err)
		}
	}
	return nil
}

// awaitComplete returns when every node sees a complete cluster.
func (c *cluster) awaitComplete(ctx context.Context) error {
	for _, n := range c.nodes {
		err := retry(ctx, clusterBound, func(ctx context.Context) error {
			return n.ask(ctx, checkComplete)
		})
		if err != nil {
			return fmt.Errorf("redistest: the cluster is not complete: %w", err)
		}
	}
	return nil
}

// checkComplete reports what is still missing in this node's view.
func checkComplete(ctx context.Context, client *redis.Client) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "cluster_state:ok") {
		return errors.New("cluster_state is not ok")
	}
	nodes, err := client.ClusterNodes(ctx).Result()
	if err != nil {
		return err
	}
	// <id> <ip:port@cport> <flags> <master> <ping-sent> <pong-recv> <config-epoch> <link-state> <slot> …
	known, replicas := 0, 0
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		if strings.Contains(fields[2], "fail") || strings.Contains(fields[2], "handshake") || fields[7] != "connected" {
			return fmt.Errorf("node %s is %s, link %s", fields[1], fields[2], fields[7])
		}
		known++
		if strings.Contains(fields[2], "slave") {
			replicas++
		}
	}
	if known != 2*masters || replicas != masters {
		return fmt.Errorf("%d nodes, of them %d replicas, are known", known, replicas)
	}
	replication, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	if strings.Contains(replication, "role:slave") && !strings.Contains(replication, "master_link_status:up") {
		return errors.New("the replica is not linked to its master")
	}
	if strings.Contains(replication, "role:master") && !strings.Contains(replication, "state=online") {
		return errors.New("the master has no linked replica")
	}
	return nil
}
