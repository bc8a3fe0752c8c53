package lock

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// settings are what a server says of itself: fields of INFO, and directives of
// its configuration. Only what is asked for by name is in it.
type settings map[string]string

// directives are asked for one by one: CONFIG GET * would show passwords.
var directives = [...]string{"maxmemory-policy", "maxmemory", "appendonly", "appendfsync", "save", "min-replicas-to-write"}

func (d *doctor) settings(ctx context.Context, p patient) settings {
	s := make(settings)
	if info, err := p.client.Info(ctx).Result(); err == nil {
		for line := range strings.Lines(info) {
			if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
				s[name] = value
			}
		}
		for info, directive := range map[string]string{"maxmemory_policy": "maxmemory-policy", "maxmemory": "maxmemory"} {
			if value, known := s[info]; known {
				s[directive] = value
			}
		}
		switch s["aof_enabled"] {
		case "0":
			s["appendonly"] = "no"
		case "1":
			s["appendonly"] = "yes"
		}
	}
	replies, _ := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range directives {
			pipe.ConfigGet(ctx, name)
		}
		return nil
	})
	for i, reply := range replies {
		if value, known := reply.(*redis.MapStringStringCmd).Val()[directives[i]]; known {
			s[directives[i]] = value
		}
	}
	return s
}

func (d *doctor) checkServer(ctx context.Context, p patient) {
	s := d.settings(ctx, p)
	d.checkVersion(p, s)
	d.checkEviction(p, s)
	d.checkPersistence(p, s)
	d.checkReplicas(p, s)
	if _, ok := d.rdb.(*redis.ClusterClient); ok {
		d.checkCluster(ctx, p)
	} else if s["cluster_enabled"] == "1" {
		d.note(Finding{SeverityProblem, "cluster-client", p.name, "the server is a node of a Cluster, and the client is for one server", "use redis.NewClusterClient"})
	}
}

func (d *doctor) checkVersion(p patient, s settings) {
	version, name := s["redis_version"], "Redis"
	if s["valkey_version"] != "" {
		version, name = s["valkey_version"], "Valkey"
	}
	if version == "" {
		d.unreadable(p, "the server's version", "Redis 6.2 is the minimum")
		return
	}
	f := Finding{SeverityInfo, "version", p.name, name + " " + version, ""}
	if name == "Redis" && before(version, 6, 2) {
		f = Finding{SeverityProblem, "version-old", p.name, name + " " + version, "Redis 6.2 is the minimum: upgrade"}
	}
	d.note(f)
}

// before compares a version with another's first two numbers; one that it cannot
// read is not before.
func before(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}

func (d *doctor) checkEviction(p patient, s settings) {
	policy, known := s["maxmemory-policy"]
	switch {
	case !known:
		d.unreadable(p, "maxmemory-policy", "it must be noeviction: look it up in the service's settings")
	case policy == "noeviction":
		if limit := s["maxmemory"]; limit != "" && limit != "0" {
			d.note(Finding{SeverityInfo, "memory", p.name, "maxmemory is " + limit + " bytes; then grants are refused, and releases still work", ""})
		}
	case strings.HasPrefix(policy, "volatile-"):
		d.note(Finding{SeverityWarning, "eviction", p.name, fmt.Sprintf("maxmemory-policy is %q", policy),
			"CONFIG SET maxmemory-policy noeviction. These keys have no expiry of Redis's own, so this policy spares them, but it is one word away from one that does not"})
	default:
		d.note(Finding{SeverityProblem, "eviction", p.name, fmt.Sprintf("maxmemory-policy is %q: a full server removes whole shards, with every lock in them", policy),
			"CONFIG SET maxmemory-policy noeviction, and in redis.conf; or a server of its own"})
	}
}

func (d *doctor) checkPersistence(p patient, s settings) {
	if status := s["aof_last_write_status"]; s["appendonly"] == "yes" && status != "" && status != "ok" {
		d.note(Finding{SeverityProblem, "persistence-failing", p.name, fmt.Sprintf("the append-only file could not be written: %q", status), "look at the server's disk and log; it refuses writes (MISCONF)"})
	}
	if status := s["rdb_last_bgsave_status"]; s["save"] != "" && status != "" && status != "ok" {
		d.note(Finding{SeverityProblem, "persistence-failing", p.name, fmt.Sprintf("the last snapshot failed: %q", status), "look at the server's disk and log; unless stop-writes-on-bgsave-error is no, it refuses writes (MISCONF)"})
	}
	const appendAlways = "appendonly yes with appendfsync always keeps every grant"
	sync, syncKnown := s["appendfsync"]
	save, saveKnown := s["save"]
	switch appendonly := s["appendonly"]; {
	case appendonly == "":
		d.unreadable(p, "appendonly", appendAlways)
	case appendonly == "yes" && !syncKnown:
		d.unreadable(p, "appendfsync", appendAlways)
	case appendonly == "yes" && sync == "always":
		d.note(Finding{SeverityInfo, "persistence", p.name, "append-only file, synced with every write", ""})
	case appendonly == "yes" && sync == "everysec":
		d.note(Finding{SeverityWarning, "persistence-second", p.name, "append-only file, synced each second: if the machine dies (not the process alone), the last second's grants and outcomes are lost", "appendfsync always, or accept it: fences grow all the same"})
	case appendonly == "yes":
		d.note(Finding{SeverityWarning, "persistence-second", p.name, fmt.Sprintf("append-only file, appendfsync %q: if the machine dies, what it had not written to disk is lost", sync), appendAlways})
	case !saveKnown:
		d.unreadable(p, "save", appendAlways)
	case save == "":
		d.note(Finding{SeverityWarning, "persistence-none", p.name, "no persistence: a restart forgets who holds what, and which jobs are done", appendAlways + "; or accept it: fences grow all the same"})
	default:
		d.note(Finding{SeverityWarning, "persistence-snapshots", p.name, fmt.Sprintf("snapshots alone (save %q): a restart brings back locks and outcomes of some time ago", save), appendAlways})
	}
}

// online counts the replicas that are fed, and not those still loading.
func (s settings) online(connected int) int {
	n := 0
	for i := range connected {
		if strings.Contains(s["slave"+strconv.Itoa(i)], "state=online") {
			n++
		}
	}
	return n
}

func (d *doctor) checkReplicas(p patient, s settings) {
	if role := s["role"]; role == "slave" {
		d.note(Finding{SeverityProblem, "replica", p.name, "the server is a replica", "connect to the primary, by Sentinel (redis.NewFailoverClient) or by Cluster"})
		return
	}
	replicas, err := strconv.Atoi(s["connected_slaves"])
	if err != nil {
		d.unreadable(p, "the number of replicas", "")
		return
	}
	if online := s.online(replicas); online < d.cfg.Replicas {
		d.note(Finding{SeverityProblem, "replicas-missing", p.name, fmt.Sprintf("replicas in step: %d of %d that Config.Replicas wants: every grant fails (ErrNotReplicated)", online, d.cfg.Replicas),
			"start them, see master_link_status at each; or want fewer"})
	}
	least, err := strconv.Atoi(s["min-replicas-to-write"])
	known := err == nil
	switch {
	case replicas < least:
		d.note(Finding{SeverityProblem, "replicas-few", p.name, fmt.Sprintf("replicas: %d, and min-replicas-to-write is %d: it refuses writes (NOREPLICAS)", replicas, least), "bring the replicas back"})
	case replicas == 0:
		d.note(Finding{SeverityInfo, "replicas", p.name, "no replicas: if the server dies, everybody waits for it", ""})
	case !known:
		d.unreadable(p, "min-replicas-to-write", fmt.Sprintf("replicas: %d; 1 or more bounds what a failover can lose", replicas))
	case least == 0:
		d.note(Finding{SeverityWarning, "replicas-unguarded", p.name, fmt.Sprintf("replicas: %d, and min-replicas-to-write is 0: a primary that is cut off goes on granting what the failover will forget", replicas),
			"CONFIG SET min-replicas-to-write 1 (and min-replicas-max-lag); it bounds the loss, and does not end it"})
	default:
		d.note(Finding{SeverityInfo, "replicas", p.name, fmt.Sprintf("replicas: %d, at least %d needed to write", replicas, least), ""})
	}
}

const clusterSlots = 16384

func (d *doctor) checkCluster(ctx context.Context, p patient) {
	if slots, err := p.client.ClusterSlots(ctx).Result(); err == nil {
		covered := 0
		for _, s := range slots {
			covered += s.End - s.Start + 1
		}
		if covered != clusterSlots {
			d.note(Finding{SeverityProblem, "cluster-slots", p.name, fmt.Sprintf("%d of %d slots have a master", covered, clusterSlots), "assign the others (redis-cli --cluster fix): shards in them cannot be locked"})
		}
	}
	info, err := p.client.ClusterInfo(ctx).Result()
	if err != nil {
		d.unreadable(p, "CLUSTER INFO", "")
		return
	}
	fields := strings.Fields(info)
	if !slices.Contains(fields, "cluster_state:ok") {
		d.note(Finding{SeverityProblem, "cluster-state", p.name, "cluster_state is not ok", "see CLUSTER NODES and the node's log; until then calls wait"})
		return
	}
	d.note(Finding{SeverityInfo, "cluster", p.name, "cluster_state is ok", ""})
}
