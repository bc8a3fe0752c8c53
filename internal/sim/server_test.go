package sim

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// A redisServer is the embedded server with a clock, a Pub/Sub and an end of its
// own. It executes whole commands one after another, in the moment in which they
// arrive. All of it is under the world's lock.
type redisServer struct {
	w     *world
	m     *miniredis.Miniredis
	life  *incarnate // nil: it is down
	clock time.Duration
	subs  map[string][]*conn // in the order in which they came

	scripts map[string]string // names, by SHA-1
	running *execution        // the command that is being executed
	counted counts
	indexes map[string]*index // nil: the embedded server's own sorted sets do
}

// An incarnate is one life of the server, from its start to its crash.
type incarnate struct{ conns map[*conn]struct{} }

// An execution is one command of a client's.
type execution struct {
	p      *process
	script string // its name; "" for a plain command
	args   []string
	at     int64 // µs by the server's clock
}

// Counts are what the server has executed.
type counts struct {
	commands int            // of clients; those inside scripts are nested
	nested   int            //
	messages int            // delivered to subscribers
	scripts  map[string]int // by name
	calls    map[string]int // by command, nested ones too
	shards   map[string]int // calls of scripts, by the shard that they are for
}

func newServer(w *world) *redisServer {
	s := &redisServer{w: w, m: miniredis.NewMiniRedis(), subs: map[string][]*conn{}, scripts: map[string]string{}}
	s.counted = counts{scripts: map[string]int{}, calls: map[string]int{}, shards: map[string]int{}}
	own, err := s.m.Dial() // starts it without a listener
	if err != nil {
		w.t.Fatal(err)
	}
	_ = own.Close()
	s.m.Server().SetPreHook(s.command)
	s.start()
	return s
}

func (s *redisServer) start() { s.life = &incarnate{conns: map[*conn]struct{}{}} }

// crash ends the server, and its connections.
func (s *redisServer) crash(cause error) {
	conns := slices.SortedFunc(maps.Keys(s.life.conns), func(a, b *conn) int { return a.id - b.id })
	s.life = nil
	for _, c := range conns {
		c.hangUp()
		s.w.after(s.w.weather.delay(s.w.rng), func() { c.fail(cause) })
	}
}

// forget is what a restart does: scripts are gone, and, without a file to read
// them from, all keys.
func (s *redisServer) forget(data bool) {
	peer, _ := newPeer()
	s.m.Server().Dispatch(peer, []string{"SCRIPT", "FLUSH"})
	if data {
		s.m.FlushAll()
		s.w.ledger.lose()
	}
}

// now is the server's time in µs.
func (s *redisServer) now() int64 { return time.Now().Add(s.clock).UnixMicro() }

func newPeer() (*server.Peer, *[]byte) {
	reply := new([]byte)
	return server.NewPeer(bufio.NewWriter((*collector)(reply))), reply
}

type collector []byte

// Write collects what a peer is sent.
func (b *collector) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// receive executes what has arrived, as far as it is complete.
func (s *redisServer) receive(c *conn, data []byte) {
	if c.s != s.life || c.hungUp {
		return
	}
	c.request = append(c.request, data...)
	for {
		args, rest := parse(c.request)
		if args == nil {
			break
		}
		c.request = rest
		s.execute(c, args)
	}
	if len(*c.reply) > 0 {
		c.deliver(*c.reply)
		*c.reply = nil
	}
}

// parse takes one command, an array of bulk strings, off the front.
func parse(b []byte) (args []string, rest []byte) {
	n, b, ok := header(b, '*')
	for ; ok && n > 0; n-- {
		var size int
		if size, b, ok = header(b, '$'); !ok || len(b) < size+2 {
			return nil, nil
		}
		args, b = append(args, string(b[:size])), b[size+2:]
	}
	if !ok {
		return nil, nil
	}
	return args, b
}

func header(b []byte, kind byte) (int, []byte, bool) {
	end := bytes.IndexByte(b, '\n')
	if end < 2 || b[0] != kind {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(b[1 : end-1]))
	return n, b[end+1:], err == nil
}

// execute executes one command of a client.
func (s *redisServer) execute(c *conn, args []string) {
	e := &execution{p: c.p, args: args, at: s.now()}
	switch strings.ToLower(args[0]) {
	case "eval":
		sum := sha1.Sum([]byte(args[1]))
		sha := hex.EncodeToString(sum[:])
		if s.scripts[sha] == "" {
			s.scripts[sha] = nameOf(args[1])
		}
		e.script = s.scripts[sha]
	case "evalsha":
		e.script = s.scripts[args[1]]
	}
	s.counted.commands++
	s.running = e
	size := len(*c.reply)
	switch strings.ToLower(args[0]) {
	case "subscribe", "unsubscribe":
		s.subscribe(c, strings.ToLower(args[0]), args[1:])
	case "ping":
		s.counted.calls["PING"]++
		s.ping(c)
	default:
		s.m.Server().Dispatch(c.peer, args)
	}
	c.peer.Flush()
	s.running = nil
	reply := (*c.reply)[size:]
	if e.script != "" && !bytes.HasPrefix(reply, []byte("-NOSCRIPT")) {
		s.counted.scripts[e.script]++
		if len(args) > 3 {
			_, shard, _ := strings.Cut(args[3], ":")
			shard, _, _ = strings.Cut(shard, "}")
			s.counted.shards[shard]++
		}
		if bytes.HasPrefix(reply, []byte("-")) {
			s.w.violate("server", "%s was answered with %q", e.script, reply)
		}
	}
	s.w.note(e, reply)
}

// nameOf tells which of lock/'s scripts a source is: each file begins with a line
// of its own.
func nameOf(source string) string {
	files, _ := filepath.Glob(filepath.Join("..", "..", "lock", "*.lua"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		name := strings.TrimSuffix(filepath.Base(f), ".lua")
		switch first, _, _ := strings.Cut(string(text), "\n"); {
		case err != nil || name == "head" || name == "entry" || name == "record" || name == "handover":
		case strings.Contains(source, first+"\n"):
			return name
		}
	}
	return "unknown"
}

// command is called before each command, and for those inside scripts. It returns
// whether that was all.
func (s *redisServer) command(peer *server.Peer, cmd string, args ...string) bool {
	s.counted.calls[cmd]++
	e := s.running
	if e == nil {
		return false
	}
	if cmd != "EVAL" && cmd != "EVALSHA" && e.script != "" {
		s.counted.nested++
	}
	switch cmd {
	case "TIME":
		peer.WriteLen(2)
		peer.WriteBulk(strconv.FormatInt(e.at/1e6, 10))
		peer.WriteBulk(strconv.FormatInt(e.at%1e6, 10))
		return true
	case "PUBLISH":
		peer.WriteInt(s.publish(args[0], args[1]))
		return true
	}
	if s.indexes != nil {
		return s.indexed(peer, cmd, args)
	}
	switch cmd {
	case "HSET":
		for i := 1; i+1 < len(args); i += 2 {
			s.w.ledger.set(e, args[0], args[i], args[i+1])
		}
	case "HDEL":
		for _, field := range args[1:] {
			s.w.ledger.remove(e, args[0], field)
		}
	case "ZADD":
		for i := 1; i+1 < len(args); i += 2 {
			s.w.ledger.enqueued(args[0], args[i+1])
		}
	case "ZREM":
		for _, member := range args[1:] {
			s.w.ledger.dequeued(args[0], member)
		}
	}
	return false
}

// Pub/Sub: each message may be lost, doubled or late for each who is to get it.

func (s *redisServer) subscribe(c *conn, kind string, channels []string) {
	for _, channel := range channels {
		if kind == "subscribe" {
			if !slices.Contains(c.channels, channel) {
				c.channels = append(c.channels, channel)
				s.subs[channel] = append(s.subs[channel], c)
			}
			if _, id, ok := strings.Cut(channel, ":wake:"); ok {
				s.w.ledger.waiters[id] = c.p
			}
		} else {
			s.unsubscribe(c, []string{channel})
		}
		c.peer.Block(func(w *server.Writer) {
			w.WritePushLen(3)
			w.WriteBulk(kind)
			w.WriteBulk(channel)
			w.WriteInt(len(c.channels))
		})
	}
}

func (s *redisServer) unsubscribe(c *conn, channels []string) {
	for _, channel := range slices.Clone(channels) {
		s.subs[channel] = slices.DeleteFunc(s.subs[channel], func(x *conn) bool { return x == c })
		if len(s.subs[channel]) == 0 {
			delete(s.subs, channel)
		}
		c.channels = slices.DeleteFunc(c.channels, func(x string) bool { return x == channel })
	}
}

func (s *redisServer) ping(c *conn) {
	if len(c.channels) == 0 || c.peer.Resp3 {
		c.peer.WriteInline("PONG")
		return
	}
	c.peer.Block(func(w *server.Writer) {
		w.WritePushLen(2)
		w.WriteBulk("pong")
		w.WriteBulk("")
	})
}

func (s *redisServer) publish(channel, message string) int {
	w := s.w
	for _, c := range s.subs[channel] {
		times := 1
		switch {
		case w.chance(w.weather.lost):
			w.count("messages lost")
			continue
		case w.chance(w.weather.doubled):
			w.count("messages doubled")
			times = 2
		}
		peer, data := newPeer()
		peer.Resp3 = c.peer.Resp3
		peer.Block(func(w *server.Writer) {
			w.WritePushLen(3)
			w.WriteBulk("message")
			w.WriteBulk(channel)
			w.WriteBulk(message)
		})
		peer.Flush()
		for range times {
			delay := w.weather.delay(w.rng)
			if w.chance(w.weather.lateMessage) {
				w.count("messages late")
				delay += w.span(w.weather.latest)
			}
			s.counted.messages++
			w.after(delay, func() { c.in.Arrive(*data) })
		}
	}
	return len(s.subs[channel])
}
