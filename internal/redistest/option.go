package redistest

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// Option changes how a server of a test's own ([Own]) is started. A shared server takes none.
type Option func(*spec)

// spec is how a server is to be started.
type spec struct {
	appendOnly  bool
	cluster     bool
	nodeTimeout time.Duration
	extra       []string
	environment []string
	sentinel    string   // the lines of its sentinel.conf; "": it is a server
	account     []string // of LeastPrivileged, if it is wanted
}

// AppendOnly makes the server keep what it acknowledged over Kill and Restart: appendonly yes, appendfsync always.
// Without it, nothing is kept.
func AppendOnly() Option {
	return func(s *spec) { s.appendOnly = true }
}

// Config adds a line of redis.conf, such as Config("maxmemory", "10mb"). What redistest itself sets (port, bind, logfile,
// loglevel, daemonize) cannot be changed. DEBUG needs Config("enable-debug-command", "local") since Redis 7.
func Config(directive string, values ...string) Option {
	return func(s *spec) { s.extra = append(append(s.extra, "--"+directive), values...) }
}

// User adds an ACL user by a line as in an ACL file, without the word "user": User("app on >secret ~{jobs* &{jobs* +eval").
// The line is split at white space. The user "default" keeps its rights unless a line takes them away.
func User(line string) Option {
	return Config("user", strings.Fields(line)...)
}

// Environment sets variables of the server's process, each as NAME=value, at every start. Where a container would serve, the
// test is skipped.
func Environment(variables ...string) Option {
	return func(s *spec) { s.environment = append(s.environment, variables...) }
}

// NodeTimeout sets cluster-node-timeout of a [Cluster]: how long a node may be silent before it counts as failed. The
// default is 2 s.
func NodeTimeout(d time.Duration) Option {
	return func(s *spec) { s.nodeTimeout = d }
}

func newSpec(options []Option) spec {
	s := spec{nodeTimeout: 2 * time.Second}
	for _, o := range options {
		o(&s)
	}
	return s
}

// ownSpec is newSpec for a server of the test's own, or ends the test where that one cannot be as it is to be.
func ownSpec(t testing.TB, from source, options []Option) spec {
	t.Helper()
	s := newSpec(options)
	if s.environment != nil && from == fromDocker {
		t.Skip("needs a redis-server on PATH, for its environment")
	}
	return s
}

// arguments returns the command line after the program's name. What redistest relies on comes last, where it wins.
func (s spec) arguments(bind string, port int) []string {
	if s.sentinel != "" {
		return []string{sentinelFile, "--sentinel", "--bind", bind, "--port", strconv.Itoa(port),
			"--daemonize", "no", "--loglevel", "notice", "--logfile", ""}
	}
	args := []string{"--save", ""}
	if s.appendOnly {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", strconv.FormatInt(s.nodeTimeout.Milliseconds(), 10),
			"--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0")
	}
	args = append(args, s.extra...)
	if s.account != nil {
		args = append(append(args, "--user"), s.account...)
	}
	return append(args, "--bind", bind, "--port", strconv.Itoa(port),
		"--daemonize", "no", "--loglevel", "notice", "--logfile", "")
}
