package lock

import (
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A shard is six keys in one slot that hold a part of the resources.
type shard struct {
	number string
	keys   [6]string // meta, locks, expiry, queue, jobs, retention
	front  []any     // what the arguments of a script begin with: how many keys, the keys, and head.lua's first three
	clock  offset
}

const (
	metaKey = iota
	locksKey
	expiryKey
	queueKey
	jobsKey
	retentionKey
)

func newShards(namespace string, n int) []shard {
	shards := make([]shard, n)
	for i := range shards {
		s := &shards[i]
		s.number = strconv.Itoa(i)
		for k, name := range [...]string{"meta", "locks", "expiry", "queue", "jobs", "retention"} {
			s.keys[k] = fmt.Sprintf("{%s:%d}:%s", namespace, i, name)
		}
		s.front = []any{strconv.Itoa(len(s.keys))}
		for _, key := range s.keys {
			s.front = append(s.front, key)
		}
		s.front = append(s.front, strconv.Itoa(n), s.number, namespace)
		s.clock.low.Store(math.MinInt64)
	}
	return shards
}

// shardOf tells which shard a resource is in: xxhash64(resource) mod shards.
// It must never change, since programs of different versions share locks.
func (l *Locker) shardOf(resource string) int {
	if len(l.shards) == 1 {
		return 0
	}
	return int(xxhash.Sum64String(resource) % uint64(len(l.shards)))
}

// An offset is what to add to the Locker's clock for the time of a shard's
// server, in ms; rather too little than too much, so that a not-after made with
// it is never later than was meant.
type offset struct {
	low atomic.Int64
}

// learn takes a reply: sent and received by the Locker's clock, executed at
// stamp (µs) by the server's.
func (o *offset) learn(sent, received time.Duration, stamp int64) {
	executed := stamp / 1000
	low := executed - int64(received/time.Millisecond) - 1
	high := executed + 1 - int64(sent/time.Millisecond)
	if now := o.low.Load(); now < low || now > high {
		o.low.Store(low)
	}
}

// redis turns a time of the Locker's clock into the server's, in ms; false as
// long as no reply has told the offset.
func (o *offset) redis(t time.Duration) (int64, bool) {
	low := o.low.Load()
	return int64(t/time.Millisecond) + low, low != math.MinInt64
}
