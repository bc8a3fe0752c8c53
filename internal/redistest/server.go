package redistest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Server is a Redis that a test may use: [Start] and [Cluster.Nodes] return it. Faults are reported through the test that
// asked for the server, and may be called from any goroutine.
type Server struct {
	t    testing.TB
	node *node
}

// node is a server as it runs, whoever uses it.
type node struct {
	from    source
	name    string // such as "redis-server 7.0.15"
	url     string
	machine machine // nil: not ours to stop
	close   func() error
}

// URL returns the address as [redis.ParseURL] takes it.
func (s *Server) URL() string { return s.node.url }

// Addr returns host and port.
func (s *Server) Addr() string { return s.Options().Addr }

// Real reports whether this is a real redis-server rather than the embedded one.
func (s *Server) Real() bool { return s.node.from != fromEmbedded }

// same reports whether both are handles of one server.
func (s *Server) same(other *Server) bool { return s.node == other.node }

// String returns what serves and where, without credentials.
func (s *Server) String() string { return s.node.String() }

func (n *node) String() string {
	where := n.name + " on " + n.options().Addr
	switch n.from {
	case fromURL:
		return where + " (REDIS_URL)"
	case fromDocker:
		return where + " (docker)"
	default:
		return where
	}
}

// Options returns fresh client options for this server: go-redis's defaults but for the address, the credentials from
// REDIS_URL and, with REDISTEST_CONTEXTS=1, ContextTimeoutEnabled.
func (s *Server) Options() *redis.Options {
	o := s.node.options()
	o.ContextTimeoutEnabled = os.Getenv("REDISTEST_CONTEXTS") == "1"
	return o
}

func (n *node) options() *redis.Options {
	o, err := redis.ParseURL(n.url)
	if err != nil {
		panic("redistest: a URL that was parsed before no longer parses")
	}
	return o
}

// Client returns a client with [Server.Options], closed when t ends.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewClient(s.Options())
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var namespaces atomic.Int64

// Namespace returns a name that no other test, process or earlier run uses, of letters, digits and hyphens: the test's
// name, shortened, is in it. What is left under it on a server that the tests did not start is deleted when t ends:
// every key that contains the name.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	ns := namespace(t)
	if s.node.from == fromURL {
		t.Cleanup(func() { s.node.sweep(t, ns) })
	}
	return ns
}

func namespace(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("%.40s-%d-%d-%08x", name, os.Getpid(), namespaces.Add(1), rand.Uint32())
}

// sweep deletes all keys that contain the namespace.
func (n *node) sweep(t testing.TB, ns string) {
	ctx, cancel := context.WithTimeout(context.Background(), commandBound)
	defer cancel()
	c := redis.NewClient(n.options())
	defer func() { _ = c.Close() }()
	for keys := c.Scan(ctx, 0, "*"+ns+"*", 1000).Iterator(); ; {
		if !keys.Next(ctx) {
			if err := keys.Err(); err != nil {
				t.Logf("redistest: keys of %s are left on the server: %v", ns, err)
			}
			return
		}
		if err := c.Unlink(ctx, keys.Val()).Err(); err != nil {
			t.Logf("redistest: keys of %s are left on the server: %v", ns, err)
			return
		}
	}
}

// version takes the name from INFO.
func (n *node) version(ctx context.Context) error {
	c := redis.NewClient(n.options())
	defer func() { _ = c.Close() }()
	return retry(ctx, urlBound, func(ctx context.Context) error {
		info, err := c.Info(ctx, "server").Result()
		if err != nil {
			return fmt.Errorf("redistest: %s: %w", n.from, err)
		}
		for line := range strings.Lines(info) {
			if v, found := strings.CutPrefix(line, "redis_version:"); found {
				n.name = "redis-server " + strings.TrimSpace(v)
			}
		}
		return nil
	})
}
