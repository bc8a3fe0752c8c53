package lock

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Owners tells who holds each resource, with fence and time left. One that is
// free, or offered to a waiter, has the owner "", which is no error. It reads
// from the primary.
func (l *Locker) Owners(ctx context.Context, resources ...string) (rs Results, err error) {
	ctx, end := l.trace(ctx, "Owners", len(resources))
	defer func() { end(rs, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	rs = l.accept(Claims(anybody, resources...), false)
	for i := range rs {
		rs[i].Owner = ""
	}
	batches := l.batches(rs, chunk, func(*Result) kind { return kind{} })
	for _, b := range batches {
		b.call = &call{script: ownersScript, shard: b.kind.shard, kin: "read", names: b.names(rs)}
	}
	l.execBatches(ctx, batches)
	for _, b := range batches {
		if err := l.outcome(ctx, b.call); err != nil { // what the call holds may still change
			for _, i := range b.index {
				rs[i].Err = err
			}
			continue
		}
		notes := notesOf(b.call, 2, len(b.index))
		for n, i := range b.index {
			note, _ := notes.of(n)
			rs[i].read(b.call.stamp, note)
		}
	}
	return rs, rs.err("Owners")
}

// read reads an entry as Owners and List report it.
func (r *Result) read(stamp int64, text string) {
	r.lease, r.entry = 0, ""
	if text == "" {
		return
	}
	e, ok := parseEntry(text)
	if !ok {
		r.Err = fmt.Errorf("%w: lock %q", ErrCorruptState, r.Resource)
		return
	}
	if e.offered || e.left(stamp) == 0 {
		return
	}
	r.Owner, r.Fence, r.TTL = e.owner, e.fence, e.left(stamp)
}

// Query selects locks for List; zero fields select everything.
type Query struct {
	Prefix string // of the resource
	Owner  string
}

// List yields the locks that are held, page by page, shard by shard, in no
// order, each once; those granted or released meanwhile may be missing. It
// yields an error for a foreign value, and goes on; after any other error it
// ends.
func (l *Locker) List(ctx context.Context, q Query) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		ctx, end := l.trace(ctx, "List", 0)
		var failure error
		defer func() { end(nil, failure) }()
		l.scan(ctx, locksKey, func(stamp int64, resource, text, _ string) bool {
			r := Result{Resource: resource}
			r.read(stamp, text)
			if r.Err != nil {
				failure = r.Err
				return yield(r, r.Err)
			}
			if r.Owner == "" || !strings.HasPrefix(resource, q.Prefix) || q.Owner != "" && q.Owner != r.Owner {
				return true
			}
			return yield(r, nil)
		}, func(err error) {
			failure = err
			yield(Result{Err: err}, err)
		})
	}
}

// scan reads a hash of every shard with HSCAN, once each field, until each says
// no; fail takes the error that ended it. lock is the entry behind a running job.
func (l *Locker) scan(ctx context.Context, key int, each func(stamp int64, field, value, lock string) bool, fail func(error)) {
	if err := l.ready(ctx); err != nil {
		fail(err)
		return
	}
	for s := range l.shards {
		seen := make(map[string]struct{})
		for cursor := uint64(0); ; {
			page, err := l.scanPage(ctx, s, key, cursor)
			if err != nil {
				fail(err)
				return
			}
			for _, found := range page.found {
				if _, twice := seen[found[0]]; twice {
					continue
				}
				seen[found[0]] = struct{}{}
				if !each(page.stamp, found[0], found[1], found[2]) {
					return
				}
			}
			if cursor = page.cursor; cursor == 0 {
				break
			}
		}
	}
}

type scanPage struct {
	stamp  int64
	cursor uint64
	found  [][3]string // field, value, and the lock's entry of a running job
}

// scanPage reads one page, from the primary, with the time of that server.
func (l *Locker) scanPage(ctx context.Context, shard, key int, cursor uint64) (scanPage, error) {
	c := &call{script: scanScript, shard: shard, args: []any{strconv.Itoa(key + 1), strconv.FormatUint(cursor, 10)}}
	l.exec(ctx, c)
	if err := l.outcome(ctx, c); err != nil {
		return scanPage{}, err
	}
	p := scanPage{stamp: c.stamp}
	var err error
	if p.cursor, err = strconv.ParseUint(c.str(2), 10, 64); err != nil {
		return p, fmt.Errorf("%w: cursor", ErrCorruptState)
	}
	width := 2
	if key == jobsKey {
		width = 3
	}
	for i := 3; i+width <= len(c.reply); i += width {
		row := [3]string{c.str(i), c.str(i + 1)}
		if row[1] == "" { // not ours, and not absent
			row[1] = "?"
		}
		if width == 3 {
			row[2] = c.str(i + 2)
		}
		p.found = append(p.found, row)
	}
	return p, nil
}
