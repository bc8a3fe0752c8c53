package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A monitor is what one Redis executes, in its order, from MONITOR: every entry of
// the hash of locks that is written or removed. Unlike replies, it tells of every
// grant and renewal, whoever gets to know of it.
type monitor struct {
	address string
	locks   string // the end of the key

	mu     sync.Mutex
	writes map[string][]write // by resource
	breaks []int64            // when it was attached: what was executed before is not known
	conn   net.Conn
	ended  bool
	caught chan struct{} // closed when the marker has come

	bundles int // script calls for several callers
	wg      sync.WaitGroup
}

// A write is one change of a resource's entry.
type write struct {
	at     int64 // by Redis's clock, µs
	kind   byte  // L a lock (or G), O an offer, - nothing
	fence  int64
	nonce  string
	expiry int64 // µs, as what follows
	lease  int64
}

// granted is when the lock was granted or renewed: all in an entry is of one moment.
func (w write) granted() int64 { return w.expiry - w.lease }

// startMonitor attaches, and attaches again whenever the connection ends.
func startMonitor(address, namespace string) (*monitor, error) {
	m := &monitor{address: address, locks: "{" + namespace + ":0}:locks", writes: map[string][]write{}, caught: make(chan struct{})}
	lines, err := m.attach()
	if err != nil {
		return nil, err
	}
	m.wg.Go(func() { m.run(lines) })
	return m, nil
}

// marker is what the controller has Redis echo once, in the end.
const marker = "that was all of the torture"

// catchUp returns when all that was executed before has been noted.
func (m *monitor) catchUp(ctx context.Context, client *redis.Client) error {
	if err := client.Echo(ctx, marker).Err(); err != nil {
		return err
	}
	select {
	case <-m.caught:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *monitor) close() {
	m.mu.Lock()
	m.ended = true
	if m.conn != nil {
		_ = m.conn.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

func (m *monitor) attach() (*bufio.Reader, error) {
	conn, err := net.DialTimeout("tcp", m.address, time.Second)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(conn)
	for _, command := range []string{"AUTH " + admin + " " + admin, "MONITOR"} {
		if err != nil {
			break
		}
		if _, err = fmt.Fprint(conn, command+"\r\n"); err == nil {
			var line string
			if line, err = lines.ReadString('\n'); err == nil && line != "+OK\r\n" { // LOADING, perhaps
				err = errors.New(strings.TrimSpace(line))
			}
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	m.conn, m.breaks = conn, append(m.breaks, now())
	return lines, nil
}

func (m *monitor) run(lines *bufio.Reader) {
	for {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			m.note(line)
		}
		for lines = nil; lines == nil; {
			m.mu.Lock()
			ended := m.ended
			m.mu.Unlock()
			if ended {
				return
			}
			if lines, _ = m.attach(); lines == nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
}

// note notes a line: +seconds.µs [db lua] "HSET" "key" "field" "value", and more of these.
func (m *monitor) note(line string) {
	if !strings.Contains(line, m.locks) {
		if strings.Contains(line, marker) {
			close(m.caught)
		}
		return
	}
	head, rest, _ := strings.Cut(line, "] ")
	args := unquote(rest)
	if len(args) > 0 && bundled(args) {
		m.mu.Lock()
		m.bundles++
		m.mu.Unlock()
	}
	if len(args) < 3 || args[1] != m.locks {
		return
	}
	stamp, _, _ := strings.Cut(strings.TrimPrefix(head, "+"), " ")
	seconds, micros, _ := strings.Cut(stamp, ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	us, _ := strconv.ParseInt(micros, 10, 64)
	at := s*1e6 + us
	m.mu.Lock()
	defer m.mu.Unlock()
	switch strings.ToLower(args[0]) {
	case "hset":
		for i := 2; i+1 < len(args); i += 2 {
			m.writes[args[i]] = append(m.writes[args[i]], parseWrite(at, args[i+1]))
		}
	case "hdel":
		for _, r := range args[2:] {
			m.writes[r] = append(m.writes[r], write{at: at, kind: '-'})
		}
	}
}

// parseWrite reads an entry of locks, whose shape lock/head.lua tells.
func parseWrite(at int64, entry string) write {
	w := write{at: at, kind: entry[0]}
	if w.kind == 'G' { // a lock as well, one of a group
		w.kind = 'L'
	}
	if w.kind == 'L' && len(entry) > 59 {
		w.expiry, _ = strconv.ParseInt(entry[1:15], 10, 64)
		w.fence, _ = strconv.ParseInt(entry[15:34], 10, 64)
		w.nonce = entry[34:45]
		w.lease, _ = strconv.ParseInt(entry[45:59], 10, 64)
		w.expiry, w.lease = w.expiry*1000, w.lease*1000
	}
	if w.kind == 'O' {
		w.nonce = entry[len(entry)-11:]
	}
	return w
}

// unquote splits arguments that Redis has quoted, as Go would.
func unquote(s string) []string {
	var args []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return args
		}
		arg, _ := strconv.Unquote(quoted)
		args = append(args, arg)
		s = s[len(quoted):]
	}
	return args
}

// broken tells whether the monitor was attached anew in a span of time.
func (m *monitor) broken(from, to int64) bool {
	for _, at := range m.breaks[1:] {
		if from <= at && at <= to {
			return true
		}
	}
	return false
}
