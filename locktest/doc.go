// Package locktest proves nothing about a real Redis. It is an embedded server (miniredis) for the tests of programs that
// use package lock or worker, so that they need no Redis, no port and no file, and wait for no time to pass:
//
//	func TestReport(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			redis := locktest.New(t)
//			locker := redis.Locker(lock.Config{})
//			…
//			redis.Take("report", "another", time.Minute) // it loses its lease
//		})
//	}
//
// docs/testing.md has whole tests. What it does not have:
//
//   - Cluster, Sentinel, replicas (a [lock.Config.Replicas] is never satisfied), rights, memory that ends, files to
//     come back from.
//   - A network. A connection takes no time; it breaks where FailNext and DropReplies say so, and nowhere else.
//   - All commands, and all of Lua. What this module needs is there, and is tested on real servers as well; for what else
//     your program does in Redis see the documentation of miniredis.
//
// # Time
//
// Inside a bubble of testing/synctest all of it, keys that expire and the TIME by which leases end too, lives on the
// bubble's clock: time passes when everything in the bubble waits, and at once. Outside it is the real clock. Make it
// inside the bubble that it is to live in, with that bubble's t.
//
// It all ends with the test, by its Cleanup. A Locker that the test makes itself, with lock.New, is the test's to close;
// one that is still open when a bubble ends makes the bubble panic.
//
// # What it is linked into
//
// Only test binaries that import this package contain it and the embedded server. A program that imports lock and
// worker has miniredis in its go.sum, since one module has them all, and not in itself.
package locktest
