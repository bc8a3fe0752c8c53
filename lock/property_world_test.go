package lock_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// A lab is a Redis whose clock stands, or nearly so, until it is moved.
type lab struct {
	ns      string
	options func() *redis.Options
	admin   *redis.Client
	move    func(time.Duration) // on
	runs    bool                // by itself, too
	closing sync.WaitGroup
}

// embeddedLab is in this process: fast, and its clock does stand.
func embeddedLab(t *testing.T) *lab {
	t.Helper()
	m := miniredis.RunT(t)
	at := time.UnixMicro(1795000000000000)
	m.SetTime(at)
	b := &lab{ns: "property", options: func() *redis.Options { return &redis.Options{Addr: m.Addr()} }}
	b.move = func(d time.Duration) {
		at = at.Add(d)
		m.SetTime(at)
	}
	return b.ready(t)
}

// realLab is a redis-server of the test's own; its clock runs, and can be moved.
func realLab(t *testing.T) *lab {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler, for the server's clock")
	}
	dir := t.TempDir()
	clock, shim := filepath.Join(dir, "clock"), filepath.Join(dir, "clock.so")
	source := filepath.Join("..", "internal", "torture", "testdata", "clock.c")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-O1", "-o", shim, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Create(clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	moved := time.Duration(0)
	move := func(d time.Duration) {
		moved += d
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(moved.Microseconds())), 0); err != nil {
			t.Error(err)
		}
	}
	move(0)
	s := redistest.Start(t, redistest.Own, redistest.Environment("LD_PRELOAD="+shim, "LOCKINGWORKER_CLOCK="+clock))
	return (&lab{ns: s.Namespace(t), options: s.Options, move: move, runs: true}).ready(t)
}

func (b *lab) ready(t *testing.T) *lab {
	b.admin = redis.NewClient(b.options())
	t.Cleanup(func() { _ = b.admin.Close() })
	t.Cleanup(b.closing.Wait)
	return b
}

// locker makes a Locker and what spoils its calls. close may be called at any time.
func (b *lab) locker() (l *lock.Locker, s *spoiler, end func()) {
	rdb := redis.NewClient(b.options())
	s = &spoiler{}
	rdb.AddHook(s)
	l, err := lock.New(rdb, lock.Config{Namespace: b.ns, Owner: "somebody"})
	if err != nil {
		panic(err)
	}
	b.closing.Add(1)
	return l, s, func() {
		go func() { // giving back what nobody was told of may take two seconds
			defer b.closing.Done()
			_ = l.Close()
			_ = rdb.Close()
		}()
	}
}

// A spoil is what becomes of one send.
type spoil int

const (
	untouched   spoil = iota
	loseRequest       // not executed, and the connection breaks
	loseReply         // executed, and the connection breaks
)

// A spoiler spoils a client's sends of scripts, the next ones as planned.
type spoiler struct {
	mu      sync.Mutex
	plan    []spoil
	refuse  bool   // lose all requests beyond the plan
	spoiled func() // is told after one was spoiled
	lost    int
}

// spoil plans for the next sends, and what follows; it returns how many were lost
// since it was called before.
func (s *spoiler) spoil(refuse bool, spoiled func(), plan ...spoil) (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, s.lost = s.lost, 0
	s.plan, s.refuse, s.spoiled = plan, refuse, spoiled
	return lost
}

func (s *spoiler) next() (what spoil, spoiled func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.plan) > 0:
		what, s.plan = s.plan[0], s.plan[1:]
	case s.refuse:
		what = loseRequest
	}
	if what != untouched {
		s.lost++
		return what, s.spoiled
	}
	return what, nil
}

func isScript(c redis.Cmder) bool { return c.Name() == "evalsha" || c.Name() == "eval" }

// through sends commands, or does as planned.
func (s *spoiler) through(cmds []redis.Cmder, send func() error) error {
	if !isScript(cmds[0]) {
		return send()
	}
	what, spoiled := s.next()
	if spoiled != nil {
		defer spoiled()
	}
	if what == untouched {
		err := send()
		if answer := redis.Error(nil); err != nil && !errors.As(err, &answer) { // the machine is too busy
			s.mu.Lock()
			s.lost++
			s.mu.Unlock()
		}
		return err
	}
	if what == loseReply {
		_ = send()
	}
	for _, c := range cmds {
		c.SetErr(io.ErrUnexpectedEOF)
	}
	return io.ErrUnexpectedEOF
}

func (s *spoiler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *spoiler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, c redis.Cmder) error {
		return s.through([]redis.Cmder{c}, func() error { return next(ctx, c) })
	}
}

func (s *spoiler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return s.through(cmds, func() error { return next(ctx, cmds) })
	}
}
