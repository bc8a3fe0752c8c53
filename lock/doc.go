// Package lock locks named resources in Redis for the processes of a cluster,
// one call for any number of them, and keeps, hands over and reports those
// locks. On top of the same step it counts attempts at jobs and remembers their
// outcomes, which is what package worker is made of.
//
// # What it does not promise
//
// A lock with a lease cannot stop code that does not look. A process that was
// paused, or that ignores the end of its lease's context, may act beside the
// next holder. Work under a lock is done at least once, never exactly once.
// The complete remedy is at the resource that is written to: give it the
// grant's fence, and let it refuse a smaller one than it has seen (a BIGINT
// column, compared with <=).
//
// Two holders at once are excluded under condition C only: one primary that
// loses no acknowledged write, maxmemory-policy noeviction, nobody else who
// writes to these keys, and a server clock that does not jump. A failover that
// lost a grant, or a restart without the append-only file, can lead to a second
// holder; its fence is the larger one. Config.Replicas makes that rarer, and does
// not exclude it: see below.
//
// Moreover:
//
//   - TryLock is not re-entrant: the same owner is refused like any other.
//   - Where no fence is given, equality of owner is all that protects: whoever
//     uses the same owner can extend and unlock.
//   - Extend sets the time left, it never adds to it, and it never shortens it.
//   - Unlock of a lock that has expired is ErrNotHeld. A Lease, which knows that
//     it was held, says ErrLeaseLost.
//   - The context of Hold, TryHold and Await bounds the call only. Its end
//     releases nothing; Lease.Release does, and the end of Do. After Close, leases
//     run out by themselves.
//   - TryLockAll needs all of its resources in one shard. On one server there
//     is only one; on Cluster there are 64, and most sets are ErrCrossSlot.
//   - A lost lock is noticed at the next renewal or at the local deadline,
//     whichever comes first, not in the moment of its loss.
//   - An expiry event comes when somebody asks for that lock, or with the sweep
//     that every watching Locker makes each 200 ms; with nobody watching there
//     is no sweep. It is published once and may get lost on its way to a watcher,
//     which is then sent an EventMissed.
//   - The order of waiting is that of arrival, but a waiter that was woken and
//     does not answer for a second goes to the tail. Of several waiters in one
//     Locker only the first stands in the queue at a time.
//   - Whoever may write to the keys may forge owners, fences and outcomes, and
//     whoever may publish on the channels may wake waiters, which does nothing.
//     The rights that a Locker needs are listed below.
//
// Redis 6.2 or later is required. What is tested is 7.0; neither 6.2 nor Valkey
// is. The client is a *redis.Client (also for Sentinel) or a *redis.ClusterClient.
// A *redis.Ring is refused.
//
// # What it does
//
// A [Locker] serves a whole process. TryLock, TryLockAll, ForceLock, Extend,
// Unlock, ForceUnlock and Owners take any number of resources and answer each
// of them, in order, in one round trip per Redis node. The error is nil only if
// every input succeeded, and is a *[BatchError] otherwise.
//
// Hold waits for a lock and keeps it: the [Lease] is renewed every third of its
// time, together with all others of the Locker, until it is released. Its
// context ends when the lease does, and the cause says why: [ErrLeaseLost],
// [ErrReleased] or [ErrClosed]. Do waits, runs a function under that context,
// and releases on every way out.
//
// Watch yields what happens in the namespace: which lock expired, whose it was,
// which attempt ended how. Observers are told what this Locker did, and a [Tracer]
// of each operation as it begins and ends; contrib/workerprom and
// contrib/workerotel make metrics and spans of that.
//
// [Jobs] adds to the lock a run's attempt counter and its outcome. Claim and
// Await grant an attempt, Settle ends it; what was done stays done for its
// retention time, and whoever asks later is told.
//
// # Calls that Redis does not answer
//
// Each send of a call is given a second; then it is sent again, with the same
// nonce, so that a claim that was executed after all finds its own grant. No
// call outlives its context; one without a deadline is given up after 30 s, as
// [ErrUnavailable]. Only Hold, Do and Await go on for as long as their context.
// If the client has ContextTimeoutEnabled, a call is made from its caller's
// goroutine, which is faster, and notices a context that is cancelled before its
// deadline only when Redis has answered, or the second is over: an answer counts.
// If it is not known whether an Unlock, an Extend or a Settle was executed, the
// error is [ErrOutcomeUnknown]. Claims carry the time, in Redis's clock, after
// which they must not be executed any more; what is granted to a caller who has
// left is given back.
//
// # Replicas
//
// With Config.Replicas so many replicas must acknowledge each grant, renewal and
// outcome, on the connection that wrote it and in the same round trip. If they do not,
// the call is [ErrNotReplicated]: a grant has been given back, a renewal does not
// count and is tried again until the lease's deadline, and of an outcome it is only
// known that the primary has it: settle again until it is nil. Reads and releases are
// not waited for; a refusal needs no replica, but comes when they were waited for. ForceLock that is not replicated leaves the lock free:
// the ousted holder has lost it.
//
// Not promised is that the replica which a failover promotes is one that acknowledged,
// where there are more than that, nor that a replica has written it to its disk.
//
// # Keys
//
// A shard is six keys, whatever is locked or waited for:
//
//	{namespace:shard}:meta       hash        number of shards, last fence, number of the last event
//	{namespace:shard}:locks      hash        resource → expiry, fence, nonce, lease, owner; or an offer to a waiter
//	{namespace:shard}:expiry     sorted set  resource, or the names of a collection → expiry in ms
//	{namespace:shard}:queue      sorted set  who waits, in the order of arrival
//	{namespace:shard}:jobs       hash        key and run → attempts, state, outcome
//	{namespace:shard}:retention  sorted set  key and run → when to forget it
//
// Beside them there is {namespace}:shards, the number of shards, and two kinds of
// channels: namespace:events, and namespace:wake: with the id of a Locker. The
// number of shards is checked by every script, so that two programs that disagree
// get [ErrShardMismatch] and not two locks.
//
// A Redis user who may do this, and no more, is enough for all of the package:
//
//	~{namespace:* ~{namespace}:shards &namespace:*
//	+eval +evalsha +time +get +set +hget +hmget +hset +hsetnx +hdel +hscan
//	+zadd +zrem +zcard +zscore +zlexcount +zrangebylex +zrangebyscore
//	+publish +subscribe +unsubscribe +ping +hello
//
// and on Cluster +cluster|slots, +asking and +command as well; where the client
// has ReadOnly or routes to replicas, +readonly, too.
// Config.Replicas needs +wait.
//
// # Waiting
//
// Who is refused stands in a queue in Redis. Releasing, settling, leaving and a
// lapsed offer hand the lock over: its entry becomes an offer, for P = 1 s, to
// the oldest waiter who may have it, and that one alone is woken, through
// Pub/Sub. The work in Redis for one hand-over does not grow with the number of
// waiters. A newcomer, and a worker whose attempt has just failed, queue behind
// those who waited.
//
// Messages make this fast; they are not needed for it to be right. If none
// comes, a waiter claims again after
//
//	min(remaining, 0.8 P) + rank × step + jitter
//
// where remaining is the rest of the holder's lease, of an offer or of a delay,
// as last told, rank is how many of the same run stand before it, and step is
// 100 ms. The jitter is less than a step, and less than 5 ms for the first.
//
// So a released lock is handed over within a round trip, and with the message
// lost within P + rank × step. A dead holder is replaced within the rest of its
// lease + P + rank × step, and P more for each dead waiter ahead.
//
// # Limits
//
// Resources, owners: 1 to 512 bytes; runs: 0 to 512 bytes; any bytes ([MaxName]).
// Lease times: at least 10 ms ([MinTTL]), or [NoExpiry]. TryLockAll: 1,000
// resources ([MaxAll]). Causes are cut at 512 bytes ([MaxCause]), and the last
// 100 grants of a run are remembered. Names are quoted in errors and logs, and
// neither ever shows an option of the client.
package lock
