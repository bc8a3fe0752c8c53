// Package sim shows nothing about a real Redis, a real network or real time. It
// has the code of lock/ and worker/ as it is live through hours in seconds, in one
// process, under the virtual time of testing/synctest, and looks for evidence that
// it is wrong. What it does not simulate:
//
//   - Redis. The scripts run in the embedded server (miniredis), whose Lua and whose
//     commands are others; one server, no Cluster, no replicas, no memory that ends.
//     A command is executed whole, in the moment in which it arrives.
//   - A clock that jumps, or that runs faster in one place than in another. The
//     server's is years away from the processes', and stays so.
//   - A process that stands still. One that is paused stops at its next read or
//     write, or step of its work; its timers go on. So it learns in time that its
//     lease is over, and only what it sends is late. A process that sleeps through
//     its lease is for internal/torture, with SIGSTOP.
//   - Memory. A process that crashes loses its connections, and its calls are told
//     that all is over; what it does then reaches nobody and is not looked at.
//   - What happens within a moment. Computing takes no time, so two goroutines meet
//     only where one wakes the other; data races are for -race.
//   - The order of bytes: a packet arrives whole, or not, behind those before it.
//     Messages of Pub/Sub may overtake each other, which is worse than TCP.
//
// # What happens
//
// A seed makes a plan (lease time, attempts, jobs, retention, …), processes that run
// jobs, settle by hand, hold plain locks and lock collections, and faults: processes
// crash, are closed and replaced, and pause; messages are lost, doubled and late, or
// all lost, in fair weather too; and in storms connections break before or after
// what they carried was executed, packets come seconds late, and the server crashes
// and comes back with or without its data, its scripts always gone. What a client
// had sent before it gave up is executed all the same, late.
//
// At the end the weather is fair, and all calls must return.
//
// # What is checked
//
// In the server, at each write of a script, in its own time and order (ledger_test.go):
//
//	G1  no lock is granted while another grant of it lasts, unless data was lost
//	G3  fences grow, also when data was lost
//	G4  a done run is not granted again, nor undone, while it is remembered
//	G5  nothing is renewed, released or settled but by a call that names its fence or nonce
//	G8  attempts are counted one by one, never above the maximum; none twice for one claim
//	    and no run is forgotten sooner than its retention says
//
// In the processes, and from outside (checks_test.go):
//
//	G1 G2  nobody begins to work while the context of another has not ended
//	G2     no context, and no work that has one, goes on when the lease is over
//	G6 G7  no lock that somebody waits for stands free for longer than P + rank × step,
//	       + P for each waiter in the queue who is dead or paused; in fair weather
//	       (8 s after a storm), in which messages may all be lost
//	       what Run returned, and what Done was told, is in the record
//	       nobody is stuck, and no goroutine is left
//
// # How to run it
//
//	go test ./internal/sim                                    # some seeds
//	go test ./internal/sim -seed 7 -seeds 1 -workers 200 -v   # one
//	make sim                                                  # 2,000 seeds of a minute, 20 of an hour, broken variants
//
// That a seed can be repeated needs more than a seed: the Go runtime decides things
// by chance. So make sim builds the test with a runtime that decides by the seed
// (strict_test.go), in which a seed is the same to the last byte that the server is
// sent, as TestSeedsAreRepeatable sees. The ordinary build of go test has the same plan
// and the same faults for a seed, and other moments.
//
//	go test ./internal/sim -strict -run Strict -seed 7 -seeds 1 -log -v   # write down what happens
package sim
