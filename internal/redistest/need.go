package redistest

import "fmt"

// Need is what a test needs of a server.
type Need int

const (
	// Any is satisfied by every server, the embedded one included. It is shared by all tests of the binary.
	Any Need = iota
	// Real is a real redis-server, shared by all tests of the binary: for Lua's numbers, ACL, CLIENT KILL, keyspace events.
	Real
	// Own is a real redis-server started for this test alone, which may stop, kill, flush and reconfigure it.
	Own
)

// String returns the name of the constant.
func (n Need) String() string {
	switch n {
	case Any:
		return "Any"
	case Real:
		return "Real"
	case Own:
		return "Own"
	default:
		return fmt.Sprintf("Need(%d)", int(n))
	}
}

// want says in a skip message what is missing.
func (n Need) want() string {
	if n == Own {
		return "needs a real redis-server that it may start and kill: put redis-server on PATH, or start docker with image " + imageName
	}
	return "needs a real redis-server: set REDIS_URL, put redis-server on PATH, or start docker with image " + imageName
}
