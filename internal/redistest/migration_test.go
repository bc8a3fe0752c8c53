package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// TestAbandonedSlotsAreServedAgain: a master is killed while two of its slots are on their way to another one. That one
// takes them for the dead one's, and refuses everything, for as long as it imports either of them.
func TestAbandonedSlotsAreServedAgain(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own, redistest.NodeTimeout(500*time.Millisecond))
	client := c.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	from, to := c.Masters()[0], c.Masters()[1]
	var tags []string // of two slots
	for i := 0; len(tags) < 2; i++ {
		tag := fmt.Sprintf("{%d}", i)
		if c.MasterOf(tag).Addr() == from.Addr() && (len(tags) == 0 || c.Slot(tag) != c.Slot(tags[0])) {
			tags = append(tags, tag)
		}
	}
	var moves []*redistest.Migration
	for _, tag := range tags {
		for i := range 4 {
			if err := client.Set(ctx, fmt.Sprint(tag, i), "before", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		m, err := c.BeginMigration(ctx, c.Slot(tag), to)
		if err == nil {
			err = m.Move(ctx, 2)
		}
		if err != nil {
			t.Fatal(err)
		}
		moves = append(moves, m)
	}
	replica := c.ReplicaOf(from)
	eventually(t, ctx, func(ctx context.Context) error { // what has moved is gone there, too
		for _, tag := range tags {
			n, err := replica.Client(t).ClusterCountKeysInSlot(ctx, c.Slot(tag)).Result()
			if err != nil {
				return err
			}
			if n != 2 {
				return fmt.Errorf("the replica has %d keys of %s", n, tag)
			}
		}
		return nil
	})
	from.Kill()
	eventually(t, ctx, func(context.Context) error {
		for _, m := range c.Masters() {
			if m.Addr() == replica.Addr() {
				return nil
			}
		}
		return errors.New("nobody is promoted")
	})

	for _, m := range moves {
		if err := m.Abandon(ctx, replica); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range moves {
		if err := m.Discard(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, tag := range tags {
		if n, err := to.Client(t).ClusterCountKeysInSlot(ctx, c.Slot(tag)).Result(); err != nil || n != 0 {
			t.Errorf("%d keys of %s are left where they had moved to, %v", n, tag, err)
		}
		left := 0
		for i := range 4 {
			key := fmt.Sprint(tag, i)
			eventually(t, ctx, func(ctx context.Context) error {
				client.ReloadState(ctx)
				n, err := client.Exists(ctx, key).Result()
				left += int(n)
				return err
			})
		}
		if left != 2 {
			t.Errorf("%d of 4 keys of %s are left, want the two that had not moved", left, tag)
		}
	}
}
