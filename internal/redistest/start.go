package redistest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Start returns a server that meets the need. For Any and Real it is the one that all tests of the binary share, started
// with the first of them; options are refused. For Own it is started for this test and removed when the test ends.
//
// The test is skipped if no server here can meet the need. It fails if one should and does not: a REDIS_URL that does not
// answer is an error, not a reason to use something else.
func Start(t testing.TB, need Need, options ...Option) *Server {
	t.Helper()
	if need != Own && len(options) > 0 {
		t.Fatalf("redistest: a shared server takes no options: ask for redistest.Own")
	}
	from := require(t, need)
	if need != Own {
		n, err := binary.server.get(func() (*node, error) { return startShared(from) })
		if err != nil {
			t.Fatal(err)
		}
		return &Server{t: t, node: n}
	}
	n, err := startOwn(t.Context(), from, ownSpec(t, from, options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return &Server{t: t, node: n}
}

// require returns the source that meets the need, or ends the test.
func require(t testing.TB, need Need) source {
	t.Helper()
	if !binary.running.Load() {
		t.Fatal("redistest: the package's TestMain must call redistest.Main, which ends the servers")
	}
	from, err := choose(need)
	switch {
	case err == nil:
		return from
	case !errors.Is(err, errUnmet):
		t.Fatal(err)
	case os.Getenv("REDISTEST_REQUIRE_REAL") == "1":
		t.Fatalf("%s (REDISTEST_REQUIRE_REAL=1 forbids to skip)", need.want())
	default:
		t.Cleanup(func() {
			if t.Skipped() {
				binary.skipped.Add(1)
			}
		})
		t.Skip(need.want())
	}
	return ""
}

// startShared starts, or for REDIS_URL finds, the server that the tests share.
func startShared(from source) (*node, error) {
	ctx := context.Background()
	switch from {
	case fromEmbedded:
		return startEmbedded()
	case fromURL:
		return connect(ctx, os.Getenv("REDIS_URL"))
	default:
		n, err := startOwn(ctx, from, newSpec(nil))
		if err != nil {
			return nil, err
		}
		if err := n.version(ctx); err != nil {
			return nil, errors.Join(err, n.close())
		}
		n.machine = nil // others use it: nobody may stop it
		return n, nil
	}
}

// startOwn starts a server that is ours to stop and kill.
func startOwn(ctx context.Context, from source, s spec) (*node, error) {
	s, err := s.withAccount()
	if err != nil {
		return nil, err
	}
	if from == fromDocker {
		c, err := startContainer(ctx, s)
		if err != nil {
			return nil, err
		}
		return ownNode(from, c), nil
	}
	p, err := startProcess(ctx, s)
	if err != nil {
		return nil, err
	}
	return ownNode(from, p), nil
}

func ownNode(from source, m machine) *node {
	return &node{from: from, name: "redis-server", url: "redis://" + m.addr(), machine: m, close: m.remove}
}

// connect uses a server that somebody else started.
func connect(ctx context.Context, address string) (*node, error) {
	if err := checkLoopback(address); err != nil {
		return nil, err
	}
	if _, err := redis.ParseURL(address); err != nil {
		return nil, errors.New("redistest: REDIS_URL is not a Redis URL") // the parser's error shows the URL, password and all
	}
	n := &node{from: fromURL, name: "REDIS_URL", url: address, close: func() error { return nil }}
	if err := n.version(ctx); err != nil {
		return nil, err
	}
	return n, nil
}
