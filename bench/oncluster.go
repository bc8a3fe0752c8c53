package main

import (
	"context"
	"fmt"
	"math"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// onCluster locks and unlocks collections of 1,000 on a cluster, and looks at how they are spread and sent.
func onCluster(ctx context.Context, b *bench, id string) error {
	const n = 1000
	keys := resources(n)
	for round := range b.rounds {
		libs := b.among(nameOurs, nameUnsafe)
		for i := range libs {
			l := libs[(i+round)%len(libs)]
			if err := onClusterOf(ctx, b, id, l, keys); err != nil {
				return err
			}
		}
	}
	r := b.report
	r.atLeast(id, "resources a second, as a multiple of the unsafe pipeline's", 0.5, r.ratio(id, size(n), "resources", nameUnsafe))
	r.atMost(id, "round trips to a node for a TryLock, at most", 1, r.most(id, size(n), "round trips to a node"))
	r.atMost(id, "a node's share, away from a third, %", 25, r.most(id, size(n), "away from a third"))
	return nil
}

// onClusterOf measures one library, once.
func onClusterOf(ctx context.Context, b *bench, id string, l library, keys []string) error {
	if err := b.cluster.empty(ctx); err != nil {
		return err
	}
	trips := newTripCounter()
	rdb := b.cluster.client(trips.dial)
	var c client = plain{rdb, place{}}
	if l.name == nameOurs {
		locker, err := lock.New(rdb, lock.Config{Owner: owner}) // the default namespace, and its default shards
		if err != nil {
			return err
		}
		defer func() { _ = locker.Close() }()
		if err := spread(ctx, b, id, trips, locker, keys); err != nil {
			return err
		}
		c = onClusterOurs{&ours{locker: locker}, rdb}
	}
	cycle := func() error { return c.collection(ctx, keys) }
	if _, _, err := repeat(ctx, b.span()/4, cycle); err != nil {
		return err
	}
	times, took, err := repeat(ctx, b.span(), cycle)
	if err != nil {
		return err
	}
	c.close()
	b.report.add(id, size(len(keys)), "resources", "1/s", l.name, float64(times*len(keys))/took.Seconds())
	return nil
}

type onClusterOurs struct {
	*ours
	cluster *redis.ClusterClient
}

func (o onClusterOurs) close() {
	_ = o.locker.Close()
	_ = o.cluster.Close()
}

// spread locks a collection and notes in how many sends and how evenly that went to the nodes.
func spread(ctx context.Context, b *bench, id string, trips *tripCounter, locker *lock.Locker, keys []string) error {
	for warm := range 2 { // the first one makes the shards, loads the scripts, and connects
		trips.reset()
		rs, err := locker.TryLock(ctx, lock.Claims(owner, keys...)...)
		if err != nil {
			return err
		}
		counted := trips.most()
		held := make([]int64, len(b.cluster.nodes))
		for i, node := range b.cluster.nodes {
			if held[i], err = locksOn(ctx, node); err != nil {
				return err
			}
		}
		if _, err := locker.Unlock(ctx, rs.Claims()...); err != nil {
			return err
		}
		if warm == 0 {
			continue
		}
		var sum int64
		away := 0.0
		for _, h := range held {
			sum += h
			third := float64(len(keys)) / masters
			away = max(away, 100*math.Abs(float64(h)-third)/third)
		}
		if sum != int64(len(keys)) {
			return fmt.Errorf("%d of %d locks were found", sum, len(keys))
		}
		b.report.add(id, size(len(keys)), "round trips to a node", "", nameOurs, float64(counted))
		b.report.add(id, size(len(keys)), "away from a third", "%", nameOurs, away)
	}
	return nil
}

// locksOn counts the locks of a node.
func locksOn(ctx context.Context, node *server) (int64, error) {
	var n int64
	keys := node.admin.Scan(ctx, 0, "*:locks", 1000).Iterator()
	for keys.Next(ctx) {
		held, err := node.admin.HLen(ctx, keys.Val()).Result()
		if err != nil {
			return 0, err
		}
		n += held
	}
	return n, keys.Err()
}
