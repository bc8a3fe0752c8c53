package torture

import (
	"context"
	"syscall"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// A fault is a row of the table.
type fault struct {
	name     string
	kind     string // server, cluster or sentinel
	options  []redistest.Option
	keeps    bool           // Redis keeps what it acknowledged: condition C holds
	clients  int            // in each process, if not as usual
	long     int            // one in so many attempts works for longer than its lease, if not as usual
	deaths   []point        // where processes die, all but the first
	stale    bool           // the ledger must have something to refuse
	jumps    bool           // the server's clock does not tell the time
	says     []string       // what errors must say, in one round or another
	definite bool           // no reply is lost, so what Redis refuses it has never done
	mute     bool           // messages are lost, and nothing else need be
	inject   func(r *round) // until r.load ends, or sooner
}

var faults = []fault{
	{name: "none", kind: "server", keeps: true},
	{name: "holder killed", kind: "server", keeps: true, clients: 1, deaths: holding, inject: killHolders},
	{name: "holder paused", kind: "server", keeps: true, long: 2, stale: true, inject: pauseHolders},
	{name: "redis stalled", kind: "server", keeps: true, inject: stallRedis},
	{name: "redis busy", kind: "server", keeps: true, says: []string{"BUSY"}, options: []redistest.Option{redistest.Config("lua-time-limit", "50")}, inject: busyRedis},
	{name: "redis restarted", kind: "server", keeps: true, options: []redistest.Option{redistest.AppendOnly()}, inject: restartRedis},
	{name: "redis restarted empty", kind: "server", inject: restartRedis},
	{name: "connection cut", kind: "server", keeps: true, inject: cutConnections},
	{name: "replies slow", kind: "server", keeps: true, long: 2, inject: slowReplies},
	{name: "requests slow", kind: "server", keeps: true, long: 2, inject: slowRequests},
	{name: "connection half open", kind: "server", keeps: true, inject: stallConnections},
	{name: "reply lost", kind: "server", keeps: true, inject: loseReplies},
	{name: "request lost", kind: "server", keeps: true, inject: loseRequests},
	{name: "messages lost", kind: "server", keeps: true, mute: true, inject: loseMessages},
	{name: "subscribers killed", kind: "server", keeps: true, mute: true, inject: killSubscribers},
	{name: "scripts flushed", kind: "server", keeps: true, inject: flushScripts},
	{name: "writes refused", kind: "server", keeps: true, definite: true, says: []string{"OOM", "NOREPLICAS", "READONLY"}, inject: refuseWrites},
	{name: "password set", kind: "server", keeps: true, says: []string{"NOAUTH"}, inject: setPasswords},
	{name: "rights taken away", kind: "server", keeps: true, definite: true, says: []string{"can't"}, inject: takeRights},
	{name: "foreign values", kind: "server", keeps: true, definite: true, says: []string{"WRONGTYPE"}, inject: foreignValues},
	{name: "keys evicted", kind: "server", options: []redistest.Option{redistest.Config("maxmemory-policy", "allkeys-random")}, inject: evictKeys},
	{name: "clock jumps", kind: "server", jumps: true, inject: jumpClock},
	{name: "all at random", kind: "server", keeps: true, deaths: points, options: []redistest.Option{redistest.AppendOnly()}, inject: anything},
	{name: "sentinel failover", kind: "sentinel", inject: killPrimary},
	{name: "failover that loses writes", kind: "sentinel", inject: detachAndKillPrimary},
	{name: "cluster master killed", kind: "cluster", inject: killMaster},
	{name: "slot migration", kind: "cluster", keeps: true, inject: migrateSlots},
}

// once are faults of which one takes a moment; "all at random" draws from them.
var once = []func(r *round){
	killHolder, pauseHolder, stallOnce, busyOnce, restartOnce, cutOnce, slowRepliesOnce, slowRequestsOnce, stallConnection, loseReply, loseRequest,
	dropSomeMessages, killSubscriber, flushOnce, refuseOnce, setPassword, takeRight, foreignValue,
}

func anything(r *round) {
	for r.sleep(50*time.Millisecond, 400*time.Millisecond) {
		once[r.rng.IntN(len(once))](r)
	}
}

// again does something again and again.
func again(f func(*round), from, to time.Duration) func(*round) {
	return func(r *round) {
		for r.sleep(from, to) {
			f(r)
		}
	}
}

var (
	killHolders      = again(killHolder, 300*time.Millisecond, 1500*time.Millisecond)
	pauseHolders     = again(pauseHolder, 50*time.Millisecond, 500*time.Millisecond)
	stallRedis       = again(stallOnce, 500*time.Millisecond, 2*time.Second)
	restartRedis     = again(restartOnce, 500*time.Millisecond, 2*time.Second)
	cutConnections   = again(cutOnce, 10*time.Millisecond, 300*time.Millisecond)
	busyRedis        = again(busyOnce, 500*time.Millisecond, 2*time.Second)
	slowReplies      = again(slowRepliesOnce, 200*time.Millisecond, time.Second)
	slowRequests     = again(slowRequestsOnce, 200*time.Millisecond, time.Second)
	setPasswords     = again(setPassword, 300*time.Millisecond, time.Second)
	takeRights       = again(takeRight, 100*time.Millisecond, 600*time.Millisecond)
	foreignValues    = again(foreignValue, 100*time.Millisecond, 600*time.Millisecond)
	stallConnections = again(stallConnection, 100*time.Millisecond, 800*time.Millisecond)
	loseReplies      = again(loseReply, 20*time.Millisecond, 300*time.Millisecond)
	loseRequests     = again(loseRequest, 20*time.Millisecond, 300*time.Millisecond)
	killSubscribers  = again(killSubscriber, time.Millisecond, 20*time.Millisecond)
	flushScripts     = again(flushOnce, time.Millisecond, 5*time.Millisecond)
	refuseWrites     = again(refuseOnce, 300*time.Millisecond, time.Second)
)

func killHolder(r *round) { r.holder().signal(syscall.SIGKILL) }

func pauseHolder(r *round) {
	c := r.holder()
	c.signal(syscall.SIGSTOP)
	r.sleep(lease+lease/2, 4*lease)
	c.signal(syscall.SIGCONT)
}

func stallOnce(r *round) {
	end := r.disturb()
	r.server.Stop()
	r.sleep(200*time.Millisecond, 2*time.Second)
	r.server.Continue()
	end()
}

func restartOnce(r *round) {
	end := r.disturb()
	r.server.Kill()
	r.sleep(0, 700*time.Millisecond)
	r.server.Restart()
	end()
}

func (r *round) proxy() *redistest.Proxy { return r.proxies[r.rng.IntN(len(r.proxies))] }

func cutOnce(r *round) {
	end := r.disturb()
	p := r.proxy()
	p.Refuse(r.rng.IntN(2) == 0)
	p.Cut()
	r.sleep(0, 400*time.Millisecond)
	p.Refuse(false)
	end()
}

// busyOnce has a script of somebody else's run for some time. What is called
// meanwhile is refused after the first 50 ms.
func busyOnce(r *round) {
	end := r.disturb()
	const script = "local t, last = redis.call('TIME') repeat last = redis.call('TIME') until (last[1] - t[1]) * 1000000 + last[2] - t[2] > tonumber(ARGV[1]) return 1"
	r.do("eval", script, "0", between(r.rng, 100*time.Millisecond, 900*time.Millisecond).Microseconds())
	end()
}

func slowRepliesOnce(r *round)  { slowOnce(r, (*redistest.Proxy).Delay) }
func slowRequestsOnce(r *round) { slowOnce(r, (*redistest.Proxy).DelayRequests) }

// slowOnce makes everything slow, but so that leases are kept, and then lets nothing
// pass: leases must not last longer for having been told late.
func slowOnce(r *round, slow func(*redistest.Proxy, time.Duration)) {
	end := r.disturb()
	late := between(r.rng, lease*7/10, lease*9/10)
	for _, p := range r.proxies {
		slow(p, late)
	}
	r.sleep(3*lease, 5*lease)
	for _, p := range r.proxies {
		p.Stall(redistest.Both)
	}
	r.sleep(lease, 2*lease)
	for _, p := range r.proxies {
		p.Heal()
	}
	end()
}

func stallConnection(r *round) {
	end := r.disturb()
	p := r.proxy()
	d := []redistest.Direction{redistest.Requests, redistest.Replies, redistest.Both}[r.rng.IntN(3)]
	p.Stall(d)
	r.sleep(100*time.Millisecond, 2*time.Second)
	if r.rng.IntN(2) == 0 {
		p.Cut()
	}
	p.Resume(d)
	end()
}

func (r *round) then() redistest.Then {
	if r.rng.IntN(2) == 0 {
		return redistest.ThenHang
	}
	return redistest.ThenCut
}

func loseReply(r *round) {
	end := r.disturb()
	switch r.rng.IntN(3) {
	case 0:
		r.lostBundles = append(r.lostBundles, r.proxy().DropReplies(bundled, 1, r.then()))
	case 1:
		r.lostSettlements = append(r.lostSettlements, r.proxy().DropReplies(endsAttempts, 1, r.then()))
	default:
		r.proxy().DropReplies(redistest.Named("evalsha", "eval"), 1+r.rng.IntN(3), r.then())
	}
	end()
}

func loseRequest(r *round) {
	end := r.disturb()
	r.proxy().DropRequests(redistest.Named("evalsha", "eval"), 1+r.rng.IntN(3), r.then())
	end()
}

func loseMessages(r *round) {
	for _, p := range r.proxies {
		p.DropMessages(nil)
	}
	<-r.load.Done()
}

func dropSomeMessages(r *round) {
	p := r.proxy()
	p.DropMessages(nil)
	r.sleep(200*time.Millisecond, 2*time.Second)
	p.PassMessages()
}

// do has Redis do something; whether it could is not the point.
func (r *round) do(args ...any) {
	ctx, cancel := context.WithTimeout(r.load, time.Second)
	defer cancel()
	_ = r.direct.Do(ctx, args...).Err()
}

func killSubscriber(r *round) { r.do("client", "kill", "type", "pubsub") }
func flushOnce(r *round)      { r.do("script", "flush") }

// forSome has Redis do something, and after a while what undoes it.
func (r *round) forSome(longest time.Duration, do, undo []any) {
	end := r.disturb()
	r.do(do...)
	r.sleep(100*time.Millisecond, longest)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.load), patience)
	defer cancel()
	for r.direct.Do(ctx, undo...).Err() != nil && ctx.Err() == nil { // a round must not end with it
		time.Sleep(10 * time.Millisecond)
	}
	end()
}

// refuseOnce has Redis refuse to write, for one reason or another: no memory, too few
// replicas, or it is a replica itself.
func refuseOnce(r *round) {
	ways := [][2][]any{
		{{"config", "set", "maxmemory", "1"}, {"config", "set", "maxmemory", "0"}},
		{{"config", "set", "min-replicas-to-write", "1"}, {"config", "set", "min-replicas-to-write", "0"}},
		{{"replicaof", "127.0.0.1", "1"}, {"replicaof", "no", "one"}},
	}
	r.turn++
	w := ways[r.turn%len(ways)]
	r.forSome(time.Second, w[0], w[1])
}

// setPassword gives the processes' user a password that they do not know, and ends
// their connections.
func setPassword(r *round) {
	r.do("config", "set", "requirepass", "another")
	r.forSome(time.Second, []any{"client", "kill", "user", "default"}, []any{"config", "set", "requirepass", ""})
}

// rights are what scripts may not do while it is taken away. Some of it is needed by
// some calls only, and at the end of what they write.
var rights = []string{
	"-eval", "-evalsha", "-time", "-hget", "-hmget", "-hset", "-hdel", "-zadd", "-zrem", "-zcard", "-zrangebylex", "-zrangebyscore", "-zlexcount", "-zscore", "-publish",
	"resetkeys", "resetchannels",
}

// takeRight takes one right away from the processes' user, and gives it back.
func takeRight(r *round) {
	r.forSome(700*time.Millisecond, []any{"acl", "setuser", "default", rights[r.rng.IntN(len(rights))]}, []any{"acl", "setuser", "default", "allkeys", "allchannels", "allcommands"})
}

// foreignValue puts something that is not ours in the place of one of the keys, and
// the key back.
func foreignValue(r *round) {
	name := "{" + r.spec.Namespace + ":0}:" + []string{"meta", "locks", "expiry", "queue", "jobs", "retention"}[r.rng.IntN(6)]
	const move = `local was = redis.call('EXISTS', KEYS[1]) if was == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end return redis.call('LPUSH', KEYS[1], 'not ours')`
	const back = `local foreign = redis.call('TYPE', KEYS[1]).ok == 'list' if foreign then redis.call('DEL', KEYS[1]) end
		if foreign and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end return 1`
	kept := "kept: " + name
	r.forSome(700*time.Millisecond, []any{"eval", move, "2", name, kept}, []any{"eval", back, "2", name, kept})
}

// evictKeys fills the memory, so that Redis throws our keys away.
func evictKeys(r *round) {
	r.do("config", "set", "maxmemory", "3mb")
	for n := 0; r.sleep(0, 2*time.Millisecond); n++ {
		r.do("set", n%1000, make([]byte, 10_000))
	}
	_ = r.direct.ConfigSet(context.WithoutCancel(r.load), "maxmemory", "0").Err()
}

func killPrimary(r *round) {
	r.sleep(time.Second, 2*time.Second)
	r.sentinel.Primary().Kill()
	r.losses = append(r.losses, now())
}

// detachAndKillPrimary lets the primary acknowledge what its replica never gets.
func detachAndKillPrimary(r *round) {
	r.sleep(time.Second, 2*time.Second)
	r.sentinel.Replica().Stop()
	_ = r.sentinel.Primary().Client(r.t).ClientKillByFilter(r.load, "type", "replica").Err()
	r.sleep(lease/2, lease)
	r.sentinel.Primary().Kill()
	r.losses = append(r.losses, now())
	r.sentinel.Replica().Continue()
}

func killMaster(r *round) {
	r.sleep(time.Second, 2*time.Second)
	masters := r.cluster.Masters()
	masters[r.rng.IntN(len(masters))].Kill()
	r.losses = append(r.losses, now())
}

// migrateSlots moves the slots of the keys, one after another, each half-way for a while.
func migrateSlots(r *round) {
	for r.sleep(0, 100*time.Millisecond) {
		for _, key := range r.shards() {
			from, masters := r.cluster.MasterOf(key), r.cluster.Masters()
			to := masters[r.rng.IntN(len(masters))]
			if to.Addr() == from.Addr() {
				continue
			}
			// Not the context of the load: a migration must not stay half-way.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.load), patience)
			if err := r.cluster.MigrateSlot(ctx, r.cluster.Slot(key), to, between(r.rng, 0, 2*lease)); err != nil {
				r.t.Errorf("migration of %s: %v", key, err)
			}
			cancel()
			if r.load.Err() != nil {
				return
			}
		}
	}
}

// shards returns a key of each shard of the cluster that is in use.
func (r *round) shards() []string {
	var keys []string
	for _, m := range r.cluster.Masters() {
		found, err := m.Client(r.t).Keys(r.load, "{"+r.spec.Namespace+":*}:meta").Result()
		if err != nil && r.load.Err() == nil {
			r.t.Error(err)
		}
		keys = append(keys, found...)
	}
	return keys
}
