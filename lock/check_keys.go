package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	keysAtOnce  = 64     // shards in one pipeline
	sampled     = 100    // entries of a hash that are looked at, or a few more
	pages       = 100    // of SCAN, on each master
	perPage     = "1000" // keys
	namesListed = 3
)

// checkKeys looks at what stands under the namespace's keys: the number of
// shards, the types, a sample of the entries, and keys that are not ours.
func (d *doctor) checkKeys(ctx context.Context) {
	ns, want := d.cfg.Namespace, strconv.Itoa(d.cfg.Shards)
	got, err := d.rdb.Get(ctx, globalKey(ns)).Result()
	switch {
	case isForeignType(err):
		d.foreignType(globalKey(ns), "string")
	case errors.Is(err, redis.Nil):
		d.note(Finding{SeverityInfo, "namespace-new", "", fmt.Sprintf("namespace %q has not been used yet", ns), ""})
	case err == nil && got != want:
		d.mismatch(got)
		return // its shards are others
	case err != nil && !isDenial(err):
		d.unreadable(patient{}, "the namespace's keys", fmt.Sprintf("check again when they can be read: %v", err))
		return
	}
	for from := 0; from < len(d.keys) && ctx.Err() == nil; from += keysAtOnce {
		d.checkShards(ctx, d.keys[from:min(from+keysAtOnce, len(d.keys))])
	}
	d.checkOtherKeys(ctx)
}

func (d *doctor) mismatch(got string) {
	d.note(Finding{SeverityProblem, "shards-mismatch", "", fmt.Sprintf("Config.Shards is %d, but namespace %q has %.20q", d.cfg.Shards, d.cfg.Namespace, got),
		"use the number that the namespace has, or another namespace: every call is refused (ErrShardMismatch)"})
}

func (d *doctor) foreignType(key, want string) {
	d.note(Finding{SeverityProblem, "type-foreign", "", fmt.Sprintf("key %q is not a %s", key, want), "find out who writes to this namespace's keys; then remove or rename the key"})
}

func (d *doctor) foreignValues(what, key string, names []string) {
	if len(names) == 0 {
		return
	}
	list := make([]string, 0, namesListed+1)
	for _, name := range names[:min(namesListed, len(names))] {
		list = append(list, fmt.Sprintf("%.64q", name))
	}
	if len(names) > namesListed {
		list = append(list, fmt.Sprintf("… (%d of those looked at)", len(names)))
	}
	d.note(Finding{SeverityWarning, "value-foreign", "", fmt.Sprintf("key %q: not %s of this package: %s", key, what, strings.Join(list, ", ")),
		"calls for these are ErrCorruptState. Find out who writes to this namespace's keys; then HDEL them"})
}

func isForeignType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }

// checkShards reads, with the rights that every Locker has, a little of each key.
func (d *doctor) checkShards(ctx context.Context, shards [][6]string) {
	type read struct {
		meta, expiry, queue, retention redis.Cmder
		locks, jobs                    *redis.ScanCmd
	}
	reads := make([]read, len(shards))
	_, _ = d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its error
		for i, keys := range shards {
			reads[i] = read{
				meta:      pipe.HMGet(ctx, keys[metaKey], "shards", "fence", "event"),
				expiry:    pipe.ZCard(ctx, keys[expiryKey]),
				queue:     pipe.ZCard(ctx, keys[queueKey]),
				retention: pipe.ZCard(ctx, keys[retentionKey]),
				locks:     pipe.HScan(ctx, keys[locksKey], 0, "", sampled),
				jobs:      pipe.HScan(ctx, keys[jobsKey], 0, "", sampled),
			}
		}
		return nil
	})
	for i, keys := range shards {
		r := reads[i]
		for k, cmd := range [...]redis.Cmder{metaKey: r.meta, locksKey: r.locks, expiryKey: r.expiry, queueKey: r.queue, jobsKey: r.jobs, retentionKey: r.retention} {
			want := "hash"
			if k == expiryKey || k == queueKey || k == retentionKey {
				want = "sorted set"
			}
			switch err := cmd.Err(); {
			case isForeignType(err):
				d.foreignType(keys[k], want)
			case isDenial(err) && !d.isNoted("right-missing"): // then more of the same says nothing new
				d.note(Finding{SeverityProblem, "right-missing", "", fmt.Sprintf("the user may not use the key %q", keys[k]),
					"give it to the client's user: ACL SETUSER … ~{" + d.cfg.Namespace + ":*"})
			}
		}
		d.checkMeta(keys[metaKey], r.meta.(*redis.SliceCmd).Val())
		d.checkEntries(keys, r.locks, r.jobs)
	}
}

func (d *doctor) checkMeta(key string, values []any) {
	if len(values) != 3 {
		return
	}
	if n, ok := values[0].(string); ok && n != strconv.Itoa(d.cfg.Shards) {
		d.mismatch(n)
	}
	var bad []string
	for i, name := range []string{"fence", "event"} {
		if text, ok := values[i+1].(string); ok {
			if n, ok := parseDigits(text); !ok || len(text) > 16 || n >= 8.9e15 { // as head.lua has it
				bad = append(bad, name)
			}
		}
	}
	d.foreignValues("numbers", key, bad)
	if text, ok := values[1].(string); ok && len(bad) == 0 {
		fence, _ := parseDigits(text)
		if ahead := time.UnixMicro(fence).Sub(d.latest()); ahead > clientDrift {
			d.note(Finding{SeverityWarning, "fence-ahead", "", fmt.Sprintf("key %q: the last fence is %v ahead of the server's clock, which was set back, or ahead before", key, ahead.Round(time.Second)),
				"let the servers follow NTP. Fences go on growing from there; but if the server loses its data before its clock has caught up, they begin below it"})
		}
	}
}

// latest is the time by the clock that is furthest ahead.
func (d *doctor) latest() time.Time {
	var ahead time.Duration
	for i, c := range d.clocks {
		if i == 0 || c.ahead > ahead {
			ahead = c.ahead
		}
	}
	return time.Now().Add(ahead)
}

func (d *doctor) checkEntries(keys [6]string, locks, jobs *redis.ScanCmd) {
	var bad []string
	fields, _ := locks.Val()
	for i := 0; i+1 < len(fields); i += 2 {
		if _, ok := parseEntry(fields[i+1]); !ok {
			bad = append(bad, fields[i])
		}
	}
	d.foreignValues("locks", keys[locksKey], bad)
	bad = nil
	fields, _ = jobs.Val()
	for i := 0; i+1 < len(fields); i += 2 {
		id, ok := parsePlace(fields[i])
		if ok = ok && fields[i+1] != ""; ok {
			_, ok = parseRecord(id, fields[i+1], "", time.Now().UnixMicro())
		}
		if !ok {
			bad = append(bad, fields[i])
		}
	}
	d.foreignValues("records", keys[jobsKey], bad)
}

// checkOtherKeys looks for keys with the namespace's hash tags that are not ours,
// where the user may, in servers that are not too large for it.
func (d *doctor) checkOtherKeys(ctx context.Context) {
	ours := map[string]bool{globalKey(d.cfg.Namespace): true}
	for _, keys := range d.keys {
		for _, key := range keys {
			ours[key] = true
		}
	}
	patients, err := d.patients(ctx)
	if err != nil {
		return
	}
	pattern := "{" + globEscape(d.cfg.Namespace) + "[:}]*"
	for _, p := range patients {
		var others []string
		cursor := "0"
		for range pages {
			page, err := p.client.Do(ctx, "scan", cursor, "match", pattern, "count", perPage).Slice()
			if err != nil || len(page) != 2 {
				d.unreadable(p, "the list of keys (SCAN)", "nothing, unless others write to these keys, too")
				break
			}
			keys, _ := page[1].([]any)
			for _, key := range keys {
				if key, ok := key.(string); ok && !ours[key] && !slices.Contains(others, key) {
					others = append(others, key)
				}
			}
			if cursor, _ = page[0].(string); cursor == "0" || cursor == "" {
				break
			}
		}
		slices.Sort(others)
		for _, key := range others[:min(namesListed, len(others))] {
			d.note(Finding{SeverityWarning, "key-foreign", p.name, fmt.Sprintf("key %.100q has this namespace's prefix and is not of this package (%d such keys were seen)", key, len(others)),
				"find out whose it is: another program's, or of another Config.Shards"})
		}
	}
}

// globEscape makes a name match itself alone.
func globEscape(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(name)
}
