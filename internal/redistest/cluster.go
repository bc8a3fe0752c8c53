package redistest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Cluster is a Redis Cluster of six nodes on loopback, three masters with one replica each.
type Cluster struct {
	t     testing.TB
	nodes *cluster
	own   bool
}

// cluster is a Cluster as it runs, whoever uses it.
type cluster struct {
	nodes []*node
	close func() error
}

func (c *cluster) String() string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.options().Addr
	}
	return fmt.Sprintf("%s, with %v", c.nodes[0], addrs[1:])
}

// StartCluster returns a cluster that is complete: every node reports cluster_state:ok and knows all three masters and
// their replicas, and the replicas are linked. For Any and Real it is the one that all tests of the binary share, and its
// nodes cannot be stopped; for Own it is started for this test, which takes about two seconds. Where the need cannot be
// met the test is skipped, as by [Start].
func StartCluster(t testing.TB, need Need, options ...Option) *Cluster {
	t.Helper()
	if need != Own && len(options) > 0 {
		t.Fatalf("redistest: a shared cluster takes no options: ask for redistest.Own")
	}
	from := require(t, Own) // also the shared cluster must be started, whatever REDIS_URL says
	if need == Own {
		c, err := startCluster(t.Context(), from, ownSpec(t, from, options))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.close(); err != nil {
				t.Error(err)
			}
		})
		return &Cluster{t: t, nodes: c, own: true}
	}
	c, err := binary.cluster.get(func() (*cluster, error) {
		ctx := context.Background()
		c, err := startCluster(ctx, from, newSpec(nil))
		if err != nil {
			return nil, err
		}
		for _, n := range c.nodes {
			n.machine = nil // others use it: nobody may stop it
		}
		if err := c.nodes[0].version(ctx); err != nil {
			return nil, errors.Join(err, c.close())
		}
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{t: t, nodes: c}
}

// Nodes returns all six servers: first those that began as masters, in the order of their slots, then their replicas in
// the same order.
func (c *Cluster) Nodes() []*Server {
	servers := make([]*Server, len(c.nodes.nodes))
	for i, n := range c.nodes.nodes {
		servers[i] = &Server{t: c.t, node: n}
	}
	return servers
}

// Options returns fresh client options for this cluster, go-redis's defaults but for the addresses.
func (c *Cluster) Options() *redis.ClusterOptions {
	o := &redis.ClusterOptions{}
	for _, s := range c.Nodes() {
		o.Addrs = append(o.Addrs, s.Addr())
	}
	return o
}

// Client returns a client with [Cluster.Options], closed when t ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(c.Options())
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Namespace returns a name as [Server.Namespace] does.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	return namespace(t)
}

// Masters returns the nodes that serve slots now, in the order of their first slot, as the first node that answers sees it.
func (c *Cluster) Masters() []*Server {
	c.t.Helper()
	var masters []*Server
	for _, r := range c.slots() {
		if r.master != nil && !slices.ContainsFunc(masters, r.master.same) {
			masters = append(masters, r.master)
		}
	}
	return masters
}

// MasterOf returns the node that serves the slot of this key now, as the first node that answers sees it.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	slot := c.Slot(key)
	for _, r := range c.slots() {
		if r.first <= slot && slot <= r.last && r.master != nil {
			return r.master
		}
	}
	c.t.Fatalf("redistest: nobody serves slot %d of %q", slot, key)
	return nil
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	var slot int64
	err := c.ask(context.Background(), func(ctx context.Context, n *redis.Client) (err error) {
		slot, err = n.ClusterKeySlot(ctx, key).Result()
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return int(slot)
}

// AwaitComplete returns when the cluster is complete again, after a node was killed and restarted: see [StartCluster] for
// what that is. Nodes may have changed their roles.
func (c *Cluster) AwaitComplete(ctx context.Context) error {
	return c.nodes.awaitComplete(ctx)
}

// slotRange is a range of slots and who serves it.
type slotRange struct {
	first, last int
	master      *Server // nil: not a node of this cluster
}

func (c *Cluster) slots() []slotRange {
	c.t.Helper()
	var ranges []slotRange
	err := c.ask(context.Background(), func(ctx context.Context, client *redis.Client) error {
		shards, err := client.ClusterShards(ctx).Result()
		if err != nil {
			return err
		}
		ranges = ranges[:0]
		for _, shard := range shards {
			master := c.masterIn(shard)
			for _, s := range shard.Slots {
				ranges = append(ranges, slotRange{first: int(s.Start), last: int(s.End), master: master})
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.SortFunc(ranges, func(a, b slotRange) int { return cmp.Compare(a.first, b.first) })
	return ranges
}

func (c *Cluster) masterIn(shard redis.ClusterShard) *Server {
	for _, n := range shard.Nodes {
		for _, s := range c.Nodes() {
			if n.Role == "master" && s.Addr() == address(int(n.Port)) {
				return s
			}
		}
	}
	return nil
}

// ReplicaOf returns a replica of this master, as the first node that answers sees it; nil if there is none that lives.
func (c *Cluster) ReplicaOf(master *Server) *Server {
	c.t.Helper()
	var replica *Server
	err := c.ask(context.Background(), func(ctx context.Context, client *redis.Client) error {
		shards, err := client.ClusterShards(ctx).Result()
		if err != nil {
			return err
		}
		for _, shard := range shards {
			if m := c.masterIn(shard); m == nil || !m.same(master) {
				continue
			}
			for _, n := range shard.Nodes {
				for _, s := range c.Nodes() {
					if n.Role == "replica" && n.Health != "fail" && s.Addr() == address(int(n.Port)) {
						replica = s
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return replica
}

// ask runs op on the first node that answers. It is bounded by itself, so that it serves while a test cleans up, too.
func (c *Cluster) ask(ctx context.Context, op func(context.Context, *redis.Client) error) error {
	var errs []error
	for _, n := range c.nodes.nodes {
		err := n.ask(ctx, op)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("redistest: no node of the cluster answers: %w", errors.Join(errs...))
}

// ask runs op on a client of this node alone, which neither waits for a stopped node nor tries again.
func (n *node) ask(ctx context.Context, op func(context.Context, *redis.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, commandBound)
	defer cancel()
	o := n.options()
	o.MaxRetries = -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = askTimeout, askTimeout, askTimeout
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	if err := op(ctx, client); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}
