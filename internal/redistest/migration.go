package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
)

// MigrateSlot moves a slot to another master under whatever load there is, as redis-cli does it: half of its keys are
// moved, then nothing happens for hold, then the rest is moved and every master is told. In between, commands for the slot
// are answered with ASK and TRYAGAIN. The cluster must be the test's own. If an error is returned, or the context ends,
// the slot stays half moved.
func (c *Cluster) MigrateSlot(ctx context.Context, slot int, to *Server, hold time.Duration) error {
	m, err := c.BeginMigration(ctx, slot, to)
	if err != nil {
		return err
	}
	n, err := m.Remaining(ctx)
	if err != nil {
		return err
	}
	if err := m.Move(ctx, n/2); err != nil {
		return err
	}
	if hold > 0 {
		timer := time.NewTimer(hold)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("redistest: migration of slot %d was held half-way: %w", slot, context.Cause(ctx))
		}
	}
	return m.Finish(ctx)
}

// Migration is a slot on its way from one master to another, for tests that do something at a certain point of it.
type Migration struct {
	cluster  *Cluster
	slot     int
	from, to *Server
}

// BeginMigration marks the slot as IMPORTING at its new master and as MIGRATING at its present one. No key is moved yet.
func (c *Cluster) BeginMigration(ctx context.Context, slot int, to *Server) (*Migration, error) {
	if !c.own {
		return nil, errors.New("redistest: the slots of a cluster that other tests use stay where they are: ask for redistest.Own")
	}
	m := &Migration{cluster: c, slot: slot, to: to}
	for _, r := range c.slots() {
		if r.first <= slot && slot <= r.last {
			m.from = r.master
		}
	}
	if m.from == nil || m.from.same(to) {
		return nil, fmt.Errorf("redistest: slot %d: want it with another master than %s", slot, to)
	}
	toID, err := m.to.id(ctx)
	if err != nil {
		return nil, err
	}
	fromID, err := m.from.id(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.setSlot(ctx, m.to, "importing", fromID); err != nil {
		return nil, err
	}
	return m, m.setSlot(ctx, m.from, "migrating", toID)
}

// Retarget has the slot go on its way to the node that was promoted in place of its new master: that one does not know that
// it imports the slot, and the old master still points at the one that died.
func (m *Migration) Retarget(ctx context.Context, to *Server) error {
	toID, err := to.id(ctx)
	if err != nil {
		return err
	}
	fromID, err := m.from.id(ctx)
	if err != nil {
		return err
	}
	m.to = to
	return retry(ctx, clusterBound, func(ctx context.Context) error { // until both know of the promotion
		if err := m.setSlot(ctx, m.to, "importing", fromID); err != nil {
			return err
		}
		return m.setSlot(ctx, m.from, "migrating", toID)
	})
}

// Abandon leaves the slot with the node that was promoted in place of its old master, which does not know that it was on its
// way. Its new master, which imports it, would otherwise take it for the dead one's and the cluster for incomplete. What has
// moved stays there until Discard.
func (m *Migration) Abandon(ctx context.Context, from *Server) error {
	m.from = from
	return m.setStable(ctx, m.to)
}

// Discard deletes what has moved, after all that was on its way to that node has been abandoned: the slot may have been written
// to since as if that had never been there.
func (m *Migration) Discard(ctx context.Context) error {
	fromID, err := m.from.id(ctx)
	if err != nil {
		return err
	}
	err = retry(ctx, clusterBound, func(ctx context.Context) error { // until it knows of the promotion
		return m.to.node.ask(ctx, func(ctx context.Context, client *redis.Client) error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New("cluster_state is not ok")
			}
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("redistest: slot %d was abandoned: %w", m.slot, err)
	}
	if err := m.setSlot(ctx, m.to, "importing", fromID); err != nil { // only so may its keys be written to there
		return err
	}
	err = m.to.node.ask(ctx, func(ctx context.Context, client *redis.Client) error {
		for {
			keys, err := client.ClusterGetKeysInSlot(ctx, m.slot, migrateBatch).Result()
			if err != nil || len(keys) == 0 {
				return err
			}
			pipe := client.Pipeline()
			for _, k := range keys {
				pipe.Do(ctx, "asking")
				pipe.Del(ctx, k)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("redistest: slot %d: delete what had moved: %w", m.slot, err)
	}
	return m.setStable(ctx, m.to)
}

func (m *Migration) setStable(ctx context.Context, at *Server) error {
	err := at.node.ask(ctx, func(ctx context.Context, client *redis.Client) error {
		return client.Do(ctx, "cluster", "setslot", m.slot, "stable").Err()
	})
	if err != nil {
		return fmt.Errorf("redistest: cluster setslot %d stable: %w", m.slot, err)
	}
	return nil
}

// Remaining returns how many keys of the slot are still with the old master.
func (m *Migration) Remaining(ctx context.Context) (int, error) {
	var n int64
	err := m.from.node.ask(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		n, err = client.ClusterCountKeysInSlot(ctx, m.slot).Result()
		return err
	})
	return int(n), err
}

const migrateBatch = 100

// Move moves up to n keys of the slot.
func (m *Migration) Move(ctx context.Context, n int) error {
	for n > 0 {
		moved, err := m.move(ctx, min(n, migrateBatch))
		if err != nil {
			return err
		}
		if moved == 0 {
			return nil
		}
		n -= moved
	}
	return nil
}

// move moves up to n keys in one MIGRATE and returns how many it asked for.
func (m *Migration) move(ctx context.Context, n int) (int, error) {
	host, port, _ := strings.Cut(m.to.Addr(), ":")
	moved := 0
	err := m.from.node.ask(ctx, func(ctx context.Context, client *redis.Client) error {
		keys, err := client.ClusterGetKeysInSlot(ctx, m.slot, n).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"migrate", host, port, "", 0, commandBound.Milliseconds(), "keys"}
		for _, k := range keys {
			args = append(args, k)
		}
		moved = len(keys)
		return client.Do(ctx, args...).Err() // NOKEY is no error: the keys expired or were deleted meanwhile
	})
	if err != nil {
		return 0, fmt.Errorf("redistest: migrate slot %d: %w", m.slot, err)
	}
	return moved, nil
}

// Finish moves what is left and tells every master that the slot has moved: first the new one, which raises its epoch,
// then the old one, then the others, which would otherwise learn it by gossip.
func (m *Migration) Finish(ctx context.Context) error {
	err := retry(ctx, startBound, func(ctx context.Context) error {
		moved, err := m.move(ctx, migrateBatch)
		if err != nil {
			return backoff.Permanent(err)
		}
		if moved > 0 {
			return errMoreKeys
		}
		return nil
	})
	if err != nil {
		return err
	}
	id, err := m.to.id(ctx)
	if err != nil {
		return err
	}
	for _, s := range append([]*Server{m.to, m.from}, m.cluster.Masters()...) {
		err := retry(ctx, clusterBound, func(ctx context.Context) error { // until it knows of a promotion
			return m.setSlot(ctx, s, "node", id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var errMoreKeys = errors.New("redistest: the slot still holds keys")

func (m *Migration) setSlot(ctx context.Context, at *Server, state, id string) error {
	err := at.node.ask(ctx, func(ctx context.Context, client *redis.Client) error {
		return client.Do(ctx, "cluster", "setslot", m.slot, state, id).Err()
	})
	if err != nil {
		return fmt.Errorf("redistest: cluster setslot %d %s: %w", m.slot, state, err)
	}
	return nil
}

// id returns the node's name in its cluster.
func (s *Server) id(ctx context.Context) (string, error) {
	var id string
	err := s.node.ask(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		id, err = client.ClusterMyID(ctx).Result()
		return err
	})
	return id, err
}
