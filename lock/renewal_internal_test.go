package lock

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestRenewalsLeaveInLanes: few at a time for each shard, and what has least time
// first, however many others are due.
func TestRenewalsLeaveInLanes(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{}) // nothing is sent
	t.Cleanup(func() { _ = rdb.Close() })
	l, err := New(rdb, Config{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(l)
	const most = renewMost / 2 // of each of two shards
	tail := strings.Repeat("n", 11) + millis(time.Minute) + "me"
	waiting := make(map[*Lease]bool)
	queue := func(n int, ttl time.Duration) {
		for i := range n {
			le := &Lease{resource: fmt.Sprint(ttl, i), ttl: ttl, deadline: ttl, tail: tail}
			waiting[le] = true
			k.queue(le)
		}
	}
	queue(8*most, time.Minute)
	queue(10, time.Second)
	ended := &Lease{resource: "ended", ttl: time.Second, index: -1}
	k.queue(ended)
	short := 10
	depart := func() (aloft [2][]*renewal, n int) {
		for _, r := range k.depart() {
			aloft[r.shard] = append(aloft[r.shard], r)
			n += len(r.leases)
			for _, le := range r.leases {
				if !waiting[le] {
					t.Errorf("%q leaves twice, or has ended", le.resource)
				}
				delete(waiting, le)
				if le.ttl == time.Second {
					short--
				}
			}
		}
		return aloft, n
	}
	first, n := depart()
	if n != 2*most || short != 0 {
		t.Errorf("%d leases leave first, %d short ones do not: want %d, 0", n, short, 2*most)
	}
	if _, n = depart(); n != 2*most {
		t.Errorf("%d leases follow while the first are under way: want %d", n, 2*most)
	}
	if _, n = depart(); n != 0 {
		t.Errorf("%d more leave", n)
	}
	for shard, rs := range first {
		for _, r := range rs {
			if len(r.leases) > chunk {
				t.Errorf("a call of %d leases", len(r.leases))
			}
			k.lanes[shard].aloft -= len(r.leases)
		}
	}
	if _, n = depart(); n != 2*most {
		t.Errorf("%d leave when the first have come back: want %d", n, 2*most)
	}
}
