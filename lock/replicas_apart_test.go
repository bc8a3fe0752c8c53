package lock_test

import (
	"net"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestHalfMovedShardHoldsUpNobodyElse, of the same node and the same call, although
// what asks the replicas fails for it as well.
func TestHalfMovedShardHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	ns, ctx := c.Namespace(t), within(t, time.Minute)
	l := newLockerOn(t, c.Client(t), lock.Config{Namespace: ns, Replicas: 1})
	shardOf := func(name string) int { return int(xxhash.Sum64String(name) % 64) }
	moving, still := "moving", ""
	for _, r := range names("still", 200) {
		if a, b := keysOf(ns, shardOf(moving)), keysOf(ns, shardOf(r)); shardOf(r) != shardOf(moving) && c.MasterOf(a[0]).Addr() == c.MasterOf(b[0]).Addr() {
			still = r
			break
		}
	}
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", moving, still)...)) // sets both up
	must[lock.Results](t)(l.Unlock(ctx, lock.Claims("me", still)...))

	keys := keysOf(ns, shardOf(moving))
	from := c.MasterOf(keys[0])
	to := otherMaster(c, keys[0])
	m := must[*redistest.Migration](t)(c.BeginMigration(ctx, c.Slot(keys[0]), to))
	host, port, err := net.SplitHostPort(to.Addr())
	wantErr(t, err, nil)
	wantErr(t, from.Client(t).Do(ctx, "migrate", host, port, keys[0], 0, 5000).Err(), nil)

	rs, _ := l.TryLock(within(t, 3*time.Second), lock.Claims("you", moving, still)...)
	if rs[0].Err == nil {
		t.Error("the shard that is half-way has answered: this test shows nothing")
	}
	wantErr(t, rs[1].Err, nil)
	wantErr(t, m.Finish(ctx), nil)
}

// TestRefusalNeedsNoWrite: where Redis takes no writes, who has the lock is told at
// once, as without replicas.
func TestRefusalNeedsNoWrite(t *testing.T) {
	t.Parallel()
	primary, _ := redistest.StartReplicated(t, 1)
	ns, ctx := primary.Namespace(t), within(t, time.Minute)
	l := newLockerOn(t, primary.Client(t), lock.Config{Namespace: ns, Replicas: 1})
	must[lock.Results](t)(l.TryLock(ctx, lock.Claims("me", "held")...))
	wantErr(t, primary.Client(t).ConfigSet(ctx, "min-replicas-to-write", "2").Err(), nil)
	rs, _ := l.TryLock(within(t, 5*time.Second), lock.Claims("you", "held")...)
	wantErr(t, rs[0].Err, lock.ErrHeld)
	rs, _ = l.TryLock(within(t, 5*time.Second), lock.Claims("you", "free")...)
	wantErr(t, rs[0].Err, lock.ErrUnavailable)
}
