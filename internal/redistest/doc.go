// Package redistest gives tests the Redis that they need, and takes it away again.
//
// It does not promise a real Redis: on a machine with nothing but Go the embedded miniredis serves, which has no
// cluster, no ACL rules, no keyspace events, and a Lua of its own. So a test says what it needs ([Any], [Real], [Own], a
// [Cluster] or a [Sentinel]), and one whose need cannot be met is skipped with the reason; it never runs against less.
// Nor does it promise a clean server: all tests of a binary share one, so every test stays inside its own
// [Server.Namespace]. A server that the tests did not start (REDIS_URL) is never flushed, reconfigured, stopped or
// killed. Servers that were started here listen on loopback only, and on Linux they die with the test binary, even when
// that is killed; a container then lives on for at most ten minutes more.
//
// A package that uses it hands its TestMain over, which also looks for leaked goroutines:
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		server := redistest.Start(t, redistest.Any)
//		client := server.Client(t)
//		…
//
// # Which server serves
//
// The first of these that is there. [Main] prints which one it was, once per test binary.
//
//	REDIS_URL      a server on loopback that somebody else started   Any Real
//	redis-server   the one on PATH, as a child process               Any Real Own Cluster Sentinel
//	docker         image redis:7, if the daemon answers              Any Real Own Cluster
//	embedded       miniredis in this process, TTLs by the clock      Any
//
// REDISTEST=url, redis-server, docker or embedded allows only that one; if it is not to be had, tests fail. With
// REDISTEST_REQUIRE_REAL=1 a test that would be skipped for want of a real server fails. With REDISTEST_CONTEXTS=1 all
// clients have ContextTimeoutEnabled, for which package lock has a way of its own. With REDISTEST_ACL=1 every server that is
// started here has a user with the rights that package lock documents, and [LeastPrivileged] makes clients of that user.
//
// # Faults
//
// A server of the test's own is stopped, killed and restarted through [Server]. For what happens between client and
// server, such as lost replies, lost messages, stalls and cuts, put a [Proxy] in between.
package redistest
