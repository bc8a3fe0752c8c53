package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// startBound is more than a server takes to start, or to end.
const startBound = 20 * time.Second

// A server is a redis-server that this program has started.
type server struct {
	addr   string
	folder string
	cmd    *exec.Cmd
	ended  chan struct{}
	admin  *redis.Client
}

// startServer starts a server that keeps nothing, on a free port of loopback, in a folder of its own.
func startServer(ctx context.Context, extra ...string) (*server, error) {
	folder, err := os.MkdirTemp("", "lockbench-")
	if err != nil {
		return nil, err
	}
	for range 10 { // somebody else may take the port first
		var s *server
		if s, err = launch(ctx, folder, extra); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(folder))
}

func launch(ctx context.Context, folder string, extra []string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no",
		"--maxclients", "15000", "--daemonize", "no", "--logfile", ""}, extra...)
	s := &server{
		addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		folder: folder,
		cmd:    exec.Command("redis-server", args...),
		ended:  make(chan struct{}),
	}
	s.cmd.Dir = folder
	dieWithParent(s.cmd)
	output, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go s.watch(output, ready)
	select {
	case <-ready:
	case <-s.ended:
		return nil, errors.New("redis-server ended before it served")
	case <-time.After(startBound):
		return nil, errors.Join(errors.New("redis-server does not serve"), s.kill())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), s.kill())
	}
	s.admin = redis.NewClient(&redis.Options{Addr: s.addr})
	return s, nil
}

// watch reads the log, which alone tells that it is this very server that has got the port.
func (s *server) watch(output io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if ready != nil && strings.Contains(lines.Text(), "Ready to accept connections") {
			close(ready)
			ready = nil
		}
	}
	_, _ = io.Copy(io.Discard, output)
	_ = s.cmd.Wait()
	close(s.ended)
}

func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(startBound):
		return fmt.Errorf("redis-server %d survived SIGKILL", s.cmd.Process.Pid)
	}
}

// stop ends the server and removes its folder.
func (s *server) stop() error {
	return errors.Join(s.admin.Close(), s.kill(), os.RemoveAll(s.folder))
}

// empty removes all keys, and waits until their memory is free.
func (s *server) empty(ctx context.Context) error {
	return s.admin.FlushAll(ctx).Err()
}

func (s *server) version(ctx context.Context) (string, error) {
	info, err := s.admin.InfoMap(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	return info["Server"]["redis_version"], nil
}

// cpu returns how much processor time the server has used.
func (s *server) cpu(ctx context.Context) (time.Duration, error) {
	info, err := s.admin.InfoMap(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	var used float64
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		v, err := strconv.ParseFloat(info["CPU"][field], 64)
		if err != nil {
			return 0, fmt.Errorf("INFO cpu: %s: %w", field, err)
		}
		used += v
	}
	return time.Duration(used * float64(time.Second)), nil
}

// resetCommands sets the counts of commands to zero.
func (s *server) resetCommands(ctx context.Context) error {
	return s.admin.ConfigResetStat(ctx).Err()
}

// housekeeping is what clients and this program send that has nothing to do with locks.
var housekeeping = []string{"info", "config|", "hello", "client|", "ping", "auth", "select", "command", "quit", "cluster|", "flushall"}

// commands returns how often each command was executed since resetCommands, those that scripts called included.
func (s *server) commands(ctx context.Context) (map[string]int64, error) {
	info, err := s.admin.InfoMap(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int64)
next:
	for name, fields := range info["Commandstats"] {
		name = strings.TrimPrefix(name, "cmdstat_")
		for _, h := range housekeeping {
			if strings.HasPrefix(name, h) {
				continue next
			}
		}
		calls, _, _ := strings.Cut(strings.TrimPrefix(fields, "calls="), ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("INFO commandstats: %s: %w", name, err)
		}
		counts[name] = n
	}
	return counts, nil
}

// total adds the counts up, of the names given or of all.
func total(counts map[string]int64, names ...string) int64 {
	var n int64
	if len(names) > 0 {
		for _, name := range names {
			n += counts[name]
		}
		return n
	}
	for _, c := range counts {
		n += c
	}
	return n
}

// freePort returns a port on which nobody listens just now, nor on the one that a cluster node's bus would take. It is
// below those that Linux gives to outgoing connections.
func freePort() (int, error) {
	for range 100 {
		port := 15000 + rand.IntN(17000)
		if free(port) && free(port+10000) {
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}
