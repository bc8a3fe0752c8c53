// Package worker never promises that work is done exactly once. It has work done by one of many
// processes, once or once per period: at least once, unless the attempts are exhausted; in at most
// Config.MaxAttempts attempts while the run is remembered, those given back not counted; and only one
// of them at a time holds a valid lease. What that leaves open:
//
//   - Code that does not look at its context does not stop. A process that was paused, or that ignores
//     the loss of its lease, may write beside its successor. The only complete remedy is the fence: hand
//     [Attempt].Fence to whatever is written to, and have it refuse a smaller one than it has seen. In
//     SQL: a column fence BIGINT, and UPDATE … SET fence = $1 … WHERE fence <= $1.
//   - Done can fail after the work's own commit: the lease may be lost, or Redis out of reach, in
//     between. Then the work is done again. So it must be repeatable, or commit together with the fence.
//   - Config.WorkTimeout ends a context. Where the work ignores that, it frees nothing at once: the lease
//     is renewed for one TTL more, then it runs out, and another worker starts beside the first.
//   - One key is worked on by one worker at a time, whatever the run. A period that still runs delays
//     the next.
//   - Runs have names and no order: nothing says that yesterday's is not done after today's.
//   - A Redis that loses acknowledged writes (a failover, a restart without an append-only file) can
//     lose a grant, a count and an outcome. The fence grows all the same, as long as its clock is right.
//   - Handlers observe. An event may be out of date when it is handled, and status events are dropped
//     where they are handled too slowly.
//
// # Run
//
// All processes call [Worker.Run]. One is granted the job's lock and works, under a lease that is kept
// alive; the others wait. If the work fails or its process dies, another one takes over. When it is
// done, everybody learns it, and those who come late learn it too.
//
//	         ┌──────────── wait ◄───────────────┐
//	         ▼                                  │ held, offered to another, or too early
//	Run ──► acquire ── granted ──► work ──┬── nil ──► done ──► Completed
//	         │                            ├── error ──► failed ──► (delay) ──► acquire, behind those who waited
//	         │                            ├── Permanent(error) ──► exhausted ──► Exhausted
//	         │                            ├── error, and the caller cancelled ──► given back ──► Interrupted
//	         │                            └── lease lost ──► no write; acquire again
//	         ├── done already ──► CompletedElsewhere
//	         ├── held, and MaxWait is over ──► HeldElsewhere
//	         └── attempt would exceed the maximum ──► Exhausted
//
// A panic or runtime.Goexit in the work is caught, and a failed attempt. Work that returns nil is done,
// also when its caller had cancelled, and after its time limit as long as the lease was kept.
//
// Run may return hours later, when somebody has settled the job; bound it by its context, by
// Config.MaxWait, or both. It returns only after the work has returned, and after its handlers have
// finished: a handler that blocks for ever keeps Run for ever.
//
// [Worker.RunAll] does this for any number of jobs, some at a time, and claims, renews, settles and gives
// them back in collections: thousands of jobs in each of many processes cost few round trips. It does not wait
// in the queue for what others have, but comes back to it; so a Run that waits for a job is before it.
//
// [Worker.Acquire] gives the attempt out instead, to be settled by hand: the end of its context releases
// nothing, and a [Grant] that is never settled keeps its job from everybody until the process ends.
//
// # Timing
//
// With L = Config.TTL, and the Locker's fallback probe P = 1s and step = 100ms:
//
//   - A lease is renewed every L/3 while the work runs, however long that is. The work's context ends no
//     later than L, less a margin, after the last renewal that succeeded was sent.
//   - A failed attempt's successor starts Config.RetryDelay after it, within a round trip; whoever has
//     waited longest is first, and the worker that failed is last.
//   - A dead worker is replaced within the rest of its lease + P + step × the waiters before the one that
//     replaces it, + P for each of those that has died too.
//   - RunAll looks at what others have again after 10ms, then after twice as long each time, up to 5s: a
//     dead worker's job is claimed at the end of its lease, and who has waited for w learns that it is
//     done within about w, or 5s.
//   - Cancelled or not, an attempt's end is being recorded for as long as the rest of its lease, but
//     for 1s at least; and, unless cancelled, for 30s while the lease can still be renewed, as in a
//     Cluster whose slots move. After that it is left to run out.
package worker
