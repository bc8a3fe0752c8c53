package torture

import (
	"context"
	"syscall"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// A fault is a row of the table.
type fault struct {
	name    string
	kind    string // server, cluster or sentinel
	options []redistest.Option
	keeps   bool           // Redis keeps what it acknowledged: condition C holds
	clients int            // in each process, if not as usual
	long    int            // one in so many attempts works for longer than its lease, if not as usual
	deaths  []point        // where processes die, all but the first
	stale   bool           // the ledger must have something to refuse
	jumps   bool           // the server's clock does not tell the time
	inject  func(r *round) // until r.load ends, or sooner
}

var faults = []fault{
	{name: "none", kind: "server", keeps: true},
	{name: "holder killed", kind: "server", keeps: true, clients: 1, deaths: holding, inject: killHolders},
	{name: "holder paused", kind: "server", keeps: true, long: 2, stale: true, inject: pauseHolders},
	{name: "redis stalled", kind: "server", keeps: true, inject: stallRedis},
	{name: "redis restarted", kind: "server", keeps: true, options: []redistest.Option{redistest.AppendOnly()}, inject: restartRedis},
	{name: "redis restarted empty", kind: "server", inject: restartRedis},
	{name: "connection cut", kind: "server", keeps: true, inject: cutConnections},
	{name: "connection slow", kind: "server", keeps: true, long: 2, inject: slowConnections},
	{name: "connection half open", kind: "server", keeps: true, inject: stallConnections},
	{name: "reply lost", kind: "server", keeps: true, inject: loseReplies},
	{name: "request lost", kind: "server", keeps: true, inject: loseRequests},
	{name: "messages lost", kind: "server", keeps: true, inject: loseMessages},
	{name: "subscribers killed", kind: "server", keeps: true, inject: killSubscribers},
	{name: "scripts flushed", kind: "server", keeps: true, inject: flushScripts},
	{name: "writes refused", kind: "server", keeps: true, inject: refuseWrites},
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
	killHolder, pauseHolder, stallOnce, restartOnce, cutOnce, slowOnce, stallConnection, loseReply, loseRequest, dropSomeMessages, killSubscriber, flushOnce, refuseOnce,
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
	slowConnections  = again(slowOnce, 200*time.Millisecond, time.Second)
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

// slowOnce makes all replies slow, but so that leases are kept, and then lets none
// come: leases must not last longer for having been told late.
func slowOnce(r *round) {
	end := r.disturb()
	late := between(r.rng, lease*7/10, lease*9/10)
	for _, p := range r.proxies {
		p.Delay(late)
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
	r.proxy().DropReplies(redistest.Named("evalsha", "eval"), 1+r.rng.IntN(3), r.then())
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

// refuseOnce has Redis refuse to write, for one reason or another.
func refuseOnce(r *round) {
	end := r.disturb()
	ways := [][3]string{{"maxmemory", "1", "0"}, {"min-replicas-to-write", "1", "0"}}
	w := ways[r.rng.IntN(len(ways))]
	r.do("config", "set", w[0], w[1])
	r.sleep(100*time.Millisecond, 1500*time.Millisecond)
	_ = r.direct.ConfigSet(context.WithoutCancel(r.load), w[0], w[2]).Err()
	end()
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
