package lock

import (
	"context"
	"strconv"
	"time"
)

// chunk is how many resources a script takes, so that none holds the server for
// longer than about a millisecond.
const chunk = 500

// A kind is what the resources of one call have in common.
type kind struct {
	shard  int
	lease  time.Duration
	fenced bool
	set    *grants // not nil: all are of these grants
}

// A batch is the part of a collection that goes in one call.
type batch struct {
	kind  kind
	call  *call
	index []int // positions in the collection
}

// batches cuts the valid results by kind, and by chunks of at most most.
func (l *Locker) batches(rs Results, most int, kindOf func(*Result) kind) []*batch {
	var all []*batch
	var last *batch
	var open map[kind]*batch // the last of each kind, once there are two kinds
	for i := range rs {
		if rs[i].Err != nil {
			continue
		}
		k := kindOf(&rs[i])
		k.shard = l.shardOf(rs[i].Resource)
		if last == nil || last.kind != k {
			if last != nil && open == nil {
				open = map[kind]*batch{last.kind: last}
			}
			last = open[k]
		}
		if last == nil || len(last.index) == most && k.set == nil {
			last = &batch{kind: k, index: make([]int, 0, min(most, len(rs)-i))}
			if open != nil {
				open[k] = last
			}
			all = append(all, last)
		}
		last.index = append(last.index, i)
	}
	return all
}

// names returns the resources of a batch.
func (b *batch) names(rs Results) []string {
	if set := b.kind.set; set != nil && b.all(rs) {
		return set.names
	}
	names := make([]string, len(b.index))
	for n, i := range b.index {
		names[n] = rs[i].Resource
	}
	return names
}

// all tells whether the batch is all of its grants, in their order.
func (b *batch) all(rs Results) bool {
	if len(b.index) != len(b.kind.set.names) {
		return false
	}
	for n, i := range b.index {
		if rs[i].Fence != b.kind.set.first+int64(n) {
			return false
		}
	}
	return true
}

// execBatches sends the batches' calls.
func (l *Locker) execBatches(ctx context.Context, batches []*batch) {
	calls := make([]*call, len(batches))
	for i, b := range batches {
		calls[i] = b.call
	}
	l.exec(ctx, calls...)
}

// Notes are what a script notes about some of a call's resources: pairs of
// index and text, in no order.
type notes struct {
	text []string // by index; nil if nothing was noted
	has  []bool
}

// notesOf reads the notes about n resources, from there on in the reply.
func notesOf(c *call, from, n int) notes {
	if c.str(from) == "0" { // about all of them
		from += 2
	}
	if len(c.reply) <= from {
		return notes{}
	}
	ns := notes{text: make([]string, n), has: make([]bool, n)}
	for i := from; i+1 < len(c.reply); i += 2 {
		if at, err := strconv.Atoi(c.str(i)); err == nil && at >= 1 && at <= n {
			ns.text[at-1], ns.has[at-1] = c.str(i+1), true
		}
	}
	return ns
}

func (ns notes) of(n int) (string, bool) {
	if ns.has == nil {
		return "", false
	}
	return ns.text[n], ns.has[n]
}
