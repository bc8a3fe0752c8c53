package redistest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestClusterServes(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Real)
	client := c.Client(t)
	ns := c.Namespace(t)
	if n := len(c.Masters()); n != 3 || len(c.Nodes()) != 6 {
		t.Fatalf("%d masters of %d nodes", n, len(c.Nodes()))
	}
	for i := range 100 {
		key := fmt.Sprintf("{%s:%d}", ns, i)
		if err := client.Set(t.Context(), key, i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		node := c.MasterOf(key).Client(t)
		if v, err := node.Get(t.Context(), key).Int(); err != nil || v != i {
			t.Fatalf("%s at its master: %d, %v", key, v, err)
		}
	}
}

func TestKilledMasterIsReplaced(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own, redistest.NodeTimeout(500*time.Millisecond))
	client := c.Client(t)
	old := c.MasterOf("k")
	if err := client.Set(t.Context(), "k", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	old.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually(t, ctx, func(ctx context.Context) error {
		// On its own go-redis asks for the new master only once a minute: a refused connection is no reason for it.
		client.ReloadState(ctx)
		return client.Set(ctx, "k", "2", 0).Err()
	})
	if now := c.MasterOf("k"); now.Addr() == old.Addr() {
		t.Fatalf("the killed master %s still serves", old)
	}
	old.Restart()
	if err := c.AwaitComplete(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestMigratedSlotAsksHalfWay(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	client := c.Client(t)
	const keys = 6
	for i := range keys {
		if err := client.Set(t.Context(), fmt.Sprintf("{tag}%d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	from := c.MasterOf("{tag}")
	to := c.Masters()[0]
	if to.Addr() == from.Addr() {
		to = c.Masters()[1]
	}
	m, err := c.BeginMigration(t.Context(), c.Slot("{tag}"), to)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Move(t.Context(), keys/2); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Remaining(t.Context()); err != nil || n != keys/2 {
		t.Fatalf("remaining half-way: %d, %v", n, err)
	}
	asked := 0
	for i := range keys {
		err := from.Client(t).Get(t.Context(), fmt.Sprintf("{tag}%d", i)).Err()
		if err != nil && strings.HasPrefix(err.Error(), "ASK ") {
			asked++
		}
	}
	if asked != keys/2 {
		t.Fatalf("%d of %d keys are answered with ASK", asked, keys)
	}
	if err := m.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := c.MasterOf("{tag}"); now.Addr() != to.Addr() {
		t.Fatalf("the slot is with %s, not %s", now, to)
	}
	// And back, in one call.
	if err := c.MigrateSlot(t.Context(), c.Slot("{tag}"), from, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if v, err := client.Get(t.Context(), fmt.Sprintf("{tag}%d", i)).Int(); err != nil || v != i {
			t.Fatalf("key %d after all: %d, %v", i, v, err)
		}
	}
}

func TestSharedClusterKeepsItsSlots(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Real)
	if err := c.MigrateSlot(t.Context(), 0, c.Masters()[1], 0); err == nil {
		t.Fatal("the slot of a shared cluster was moved")
	}
	var _ redis.UniversalClient = c.Client(t)
}
