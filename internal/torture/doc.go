// Package torture does not show that lockingworker is right; it looks for
// evidence that it is wrong. Processes work on the same jobs while faults befall
// them, their connections and their Redis, and what they saw is held against the
// promises G1 to G10 of docs/design.md:
//
//   - the history of each job's run must be linearizable: there must be an order
//     of all that was answered, in which one after another it makes sense
//     (history_test.go; lockhistory_test.go for plain locks); what was never
//     answered may have happened or not, what Redis refused must not;
//   - in the ledger, which every attempt writes to with its fence, no fence may
//     belong to two attempts, and none that Redis granted later may be smaller
//     (ledger_test.go);
//   - in what Redis executed, as MONITOR tells it with Redis's own time, the
//     intervals of a resource must be disjoint and in the order of their fences,
//     and end before their time only if somebody asked for that with their fence
//     (monitor_test.go, intervals_test.go);
//   - the timers: no call outlives its deadline, no work its lease, and no lock
//     stands free while somebody waits for longer than is promised (timers_test.go).
//
// It is a test, which starts its own binary as the worker processes:
//
//	go test -C internal/torture -run TestTorture -v -duration 10m -seed 1 -fault all
//
// For each fault it tells which promises were checked: those that could have been
// found broken by what happened in that run, not all that a check knows of.
//
// The seed decides what is done to whom and which work fails, not how the
// processes of a machine happen to be scheduled: a violation comes back with
// its seed often, not always. Its history is kept; see -keep.
//
// That the checks can fail is tested as well: TestBrokenVariants builds the
// worker from sources with one thing broken each, and each must be caught. That what
// they break is still there is tested always.
//
// TestKilledHoldersAreReplaced holds each takeover against its own bound (G6), and the
// attempts counted against what Redis has granted: 10 deaths, or as many as -holders says.
//
// TestClusterUnderLoad has crews, which are processes with many workers each, do all that
// a Locker and a Worker can do, while slots of a Cluster move and masters are killed.
//
// TestSentinelFailovers kills primaries behind a Sentinel, with and without replicas that
// must acknowledge, and holds every done that was repeated against what the killed primary
// had written and the promoted replica had.
package torture
