package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A right is a command that a Redis user must be allowed.
type right struct {
	command string // in an ACL: +command
	// probe are arguments with which the command does nothing, not even where it
	// is allowed: it removes what does not exist, or fails after the rights were
	// checked.
	probe        string
	cluster      bool // on Cluster only
	replicas     bool // with Config.Replicas only
	guarded      bool // there are no such arguments: it is tried in a script that must not write
	channel      bool // its first argument is a channel
	subscription bool // it is tried on a connection of its own
}

// rights are all commands that this package sends: its scripts, its own few, and
// what go-redis needs for them. Its tests hold the list against the scripts and
// against what a server has counted. In the probes, {…} are keys and channels
// (see places), and ? is a field that nobody has.
var rights = []right{
	// by the Locker
	{command: "eval", probe: "return 1 {meta}"},
	{command: "evalsha", probe: "0000000000000000000000000000000000000000 1 {meta}"},
	{command: "get", probe: "{global}"},
	{command: "set", probe: "{global} ? nx xx"},
	{command: "hsetnx", probe: "{meta} ? ?", guarded: true},
	{command: "subscribe", probe: "{wake}", channel: true, subscription: true},
	{command: "unsubscribe", probe: "{wake}", channel: true, subscription: true},
	{command: "wait", probe: "0 1", replicas: true},

	// by scripts
	{command: "time"},
	{command: "hget", probe: "{jobs} ?"},
	{command: "hmget", probe: "{meta} ?"},
	{command: "hset", probe: "{locks} ? ? ?"},
	{command: "hdel", probe: "{locks} ?"},
	{command: "hscan", probe: "{locks} 0 match ? count 1"},
	{command: "zadd", probe: "{expiry} ? ?"},
	{command: "zrem", probe: "{expiry} ?"},
	{command: "zcard", probe: "{queue}"},
	{command: "zscore", probe: "{retention} ?"},
	{command: "zlexcount", probe: "{queue} [? [?"},
	{command: "zrangebylex", probe: "{queue} [? [?"},
	{command: "zrangebyscore", probe: "{retention} 0 0 limit 0 1"},
	{command: "publish", probe: "{wake} ?", channel: true},

	// by go-redis
	{command: "hello"},
	{command: "ping"},
	{command: "cluster|slots", cluster: true},
	{command: "asking", cluster: true}, // of the connection's next command, which is the next probe
	{command: "command", probe: "count", cluster: true},
}

// aclOf is the smallest ACL for a namespace, without Config.Replicas.
func aclOf(namespace string, cluster bool) string {
	words := []string{"~{" + namespace + ":*", "~{" + namespace + "}:shards", "&" + namespace + ":*"}
	for _, r := range rights {
		if (cluster || !r.cluster) && !r.replicas {
			words = append(words, "+"+r.command)
		}
	}
	return strings.Join(words, " ")
}

// absent is a field, a member and a waiter that nobody has: names of ours are
// preceded by a length or are what a user calls a resource.
const absent = "\x00lock.Check\x00"

// places are what the probes' {…} stand for.
func (d *doctor) places() map[string]string {
	return map[string]string{
		"{meta}": d.keys[0][metaKey], "{locks}": d.keys[0][locksKey], "{expiry}": d.keys[0][expiryKey],
		"{queue}": d.keys[0][queueKey], "{jobs}": d.keys[0][jobsKey], "{retention}": d.keys[0][retentionKey],
		"{global}": globalKey(d.cfg.Namespace), "{wake}": d.cfg.Namespace + ":wake:" + absent, "{events}": d.cfg.Namespace + ":events",
	}
}

func globalKey(namespace string) string { return "{" + namespace + "}:shards" }

// noWrites runs a command in a script that Redis keeps from writing, after it
// has looked at the rights. Its key is not declared, so that every node of a Cluster
// runs it. Redis 6.2 cannot compile it.
const noWrites = "#!lua flags=no-writes\nreturn redis.pcall(unpack(ARGV))"

// A trial is a command with harmless arguments, of which one is a key or a channel.
type trial struct {
	right   right
	args    []any
	place   string
	channel bool
}

// trials are those of all rights, for the kind of client that there is.
func (d *doctor) trials() []trial {
	places := d.places()
	_, cluster := d.rdb.(*redis.ClusterClient)
	var trials []trial
	for _, r := range rights {
		if r.cluster && !cluster || r.replicas && d.cfg.Replicas == 0 {
			continue
		}
		var t trial
		for i, word := range append(strings.Split(r.command, "|"), strings.Fields(r.probe)...) {
			if place, is := places[word]; is && i > 0 {
				word, t.place = place, place
			}
			t.args = append(t.args, strings.ReplaceAll(word, "?", absent))
		}
		t.right = r
		trials = append(trials, t)
		if r.channel { // on both kinds of channels
			trials[len(trials)-1].channel = true
			t.args, t.place, t.channel = append([]any{r.command, places["{events}"]}, t.args[2:]...), places["{events}"], true
			trials = append(trials, t)
		}
	}
	return trials
}

// A lack is a right that a server said is missing.
type lack struct {
	acl   string // what to add to the user
	found string
}

// lackOf reads the denial of a trial.
func (d *doctor) lackOf(t trial, text string) lack {
	ns := d.cfg.Namespace
	switch {
	case t.place == "" || strings.Contains(text, " to run the ") || strings.Contains(text, "can't run this command"):
		return lack{"+" + t.right.command, "the user may not run " + strings.ToUpper(strings.ReplaceAll(t.right.command, "|", " "))}
	case t.channel:
		return lack{"&" + ns + ":*", fmt.Sprintf("the user may not use the channel %q", strings.ReplaceAll(t.place, absent, "…"))}
	case t.place == globalKey(ns):
		return lack{"~" + t.place, fmt.Sprintf("the user may not use the key %q", t.place)}
	default:
		return lack{"~{" + ns + ":*", fmt.Sprintf("the user may not use the key %q", t.place)}
	}
}

// missing asks one server which rights its user lacks: it has them judged by ACL
// DRYRUN, or, where the user may not do that or the server is before 7.0, tries.
func (d *doctor) missing(ctx context.Context, p patient) []lack {
	trials := d.trials()
	judged, ok := d.judge(ctx, p, trials)
	if !ok {
		judged = d.try(ctx, p, trials)
	}
	var lacks []lack
	for i, text := range judged {
		if text == "" {
			continue
		}
		if n := d.lackOf(trials[i], text); !slices.Contains(lacks, n) {
			lacks = append(lacks, n)
		}
	}
	return lacks
}

// judge returns what ACL DRYRUN says against each trial, "" for nothing, and
// whether it was told.
func (d *doctor) judge(ctx context.Context, p patient, trials []trial) ([]string, bool) {
	user, err := p.client.Do(ctx, "acl", "whoami").Text()
	if err != nil {
		return nil, false
	}
	said := make([]string, len(trials))
	replies, _ := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, t := range trials {
			pipe.Do(ctx, append([]any{"acl", "dryrun", user}, t.args...)...)
		}
		return nil
	})
	for i, reply := range replies {
		text, err := reply.(*redis.Cmd).Text()
		if err != nil {
			return nil, false
		}
		if text != "OK" {
			said[i] = text
		}
	}
	return said, len(replies) == len(trials)
}

// try sends the trials, and returns the denials.
func (d *doctor) try(ctx context.Context, p patient, trials []trial) []string {
	said := make([]string, len(trials))
	var sent []int
	replies, _ := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, t := range trials {
			switch {
			case t.right.subscription:
				continue
			case t.right.guarded:
				pipe.Do(ctx, append([]any{"eval", noWrites, "0"}, t.args...)...)
			default:
				pipe.Do(ctx, t.args...)
			}
			sent = append(sent, i)
		}
		return nil
	})
	for n, reply := range replies {
		err, t := reply.Err(), trials[sent[n]]
		if isDenial(err) {
			if !t.right.guarded || !strings.Contains(err.Error(), "'eval'") { // which is another right
				said[sent[n]] = err.Error()
			}
		} else if t.right.guarded && (err == nil || strings.Contains(err.Error(), "compiling")) {
			d.note(Finding{SeverityInfo, "unreadable", p.name, "whether the user may run " + strings.ToUpper(t.right.command) + " could not be found out",
				"look it up: before Redis 7.0 this cannot be tried without writing"})
		}
	}
	for i, t := range trials {
		if t.right.subscription {
			if err := subscribe(ctx, p, t); isDenial(err) {
				said[i] = err.Error()
			}
		}
	}
	return said
}

// subscribe subscribes to a channel and back, on a connection of its own, and
// returns the error of the one command that is tried.
func subscribe(ctx context.Context, p patient, t trial) error {
	pubsub := p.client.Subscribe(ctx)
	defer func() { _ = pubsub.Close() }()
	err := pubsub.Subscribe(ctx, t.place)
	if err == nil {
		_, err = pubsub.ReceiveTimeout(ctx, sendTime)
	}
	if t.right.command == "subscribe" {
		return err
	}
	if err != nil {
		return nil // it is the other trial's
	}
	if err = pubsub.Unsubscribe(ctx, t.place); err == nil {
		_, err = pubsub.ReceiveTimeout(ctx, sendTime)
	}
	return err
}

// permitted returns the denial of the first right that the client's user lacks
// for scripts, and for setting up a shard.
func (l *Locker) permitted(ctx context.Context, shard int) error {
	cfg := l.cfg
	cfg.Shards = 1 // the rights are the same for all
	var args []any
	for _, t := range newDoctor(l.rdb, cfg).trials() {
		if command := t.right.command; t.place != "" && !t.right.subscription && command != "eval" && command != "evalsha" {
			args = append(append(args, len(t.args)), t.args...)
		}
	}
	err := l.rdb.Eval(ctx, permitLua, []string{l.shards[shard].keys[metaKey]}, args...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (d *doctor) checkRights(ctx context.Context, p patient) {
	for _, n := range d.missing(ctx, p) {
		d.note(Finding{SeverityProblem, "right-missing", p.name, n.found, "give it to the client's user: ACL SETUSER … " + n.acl})
	}
}

// isDenial tells whether Redis says that a right is missing, by itself or in a
// script.
func isDenial(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	text := answer.Error()
	return strings.HasPrefix(text, "NOPERM") || slices.ContainsFunc([]string{
		"-NOPERM", "ACL failure in script", "can't run this command", "can't access at least one of the keys", "can't publish to the channel",
	}, func(s string) bool { return strings.Contains(text, s) })
}

// explain adds to a denial which rights are missing, where Redis does not name
// them: what 7.0 says of a denial in a script does not. It asks, for a second at
// most.
func (l *Locker) explain(err error) error {
	if strings.Contains(err.Error(), "unauthenticated") { // what Redis says instead, if the command has many arguments
		return fmt.Errorf("NOAUTH: %w", err)
	}
	if !isDenial(err) || strings.Contains(err.Error(), " to run the '") {
		return err
	}
	ctx, cancel := context.WithTimeout(l.dead, time.Second)
	defer cancel()
	d := newDoctor(l.rdb, l.cfg)
	patients, trouble := d.patients(ctx)
	if trouble != nil {
		return err
	}
	var missing []string
	for _, p := range patients {
		for _, n := range d.missing(ctx, p) {
			if !slices.Contains(missing, n.acl) {
				missing = append(missing, n.acl)
			}
		}
	}
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w (the user lacks %s)", err, strings.Join(missing, " "))
}
