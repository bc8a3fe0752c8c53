package gocronworker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockingworker/lockingworker/contrib/gocronworker"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// candidate is an Elector that tells the test what it learns.
type candidate struct {
	*gocronworker.Elector
	leads  chan bool
	errors chan error
}

func newCandidate(t *testing.T, l *lock.Locker, ttl time.Duration) *candidate {
	t.Helper()
	c := &candidate{leads: make(chan bool, 100), errors: make(chan error, 100)}
	var err error
	c.Elector, err = gocronworker.NewElector(l, gocronworker.ElectorConfig{
		TTL:      ttl,
		OnChange: func(leads bool) { c.leads <- leads },
		OnError:  func(err error) { c.errors <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close(t))
	return c
}

func (c *candidate) close(t *testing.T) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// One leads, and alone; when it steps down, the next one does.
func TestOneLeads(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := newCandidate(t, c.locker("a"), time.Minute)
	if !receive(t, a.leads) || a.IsLeader(t.Context()) != nil {
		t.Error("the first does not lead")
	}
	b := newCandidate(t, c.locker("b"), time.Minute)
	if err := b.IsLeader(t.Context()); !errors.Is(err, gocronworker.ErrNotLeader) {
		t.Errorf("the second: %v", err)
	}
	a.close(t)()
	if receive(t, a.leads) || a.IsLeader(t.Context()) == nil {
		t.Error("the first still leads")
	}
	if !receive(t, b.leads) || b.IsLeader(t.Context()) != nil {
		t.Error("the second does not lead")
	}
	a.close(t)() // again
	if len(a.errors) > 0 {
		t.Errorf("error %v", <-a.errors)
	}
}

// Who cannot reach Redis steps down before another leads.
func TestLeaderStepsDownWithItsLease(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	proxy := redistest.NewProxy(t, c.server.Addr())
	a := newCandidate(t, c.lockerThrough(proxy, "a"), 400*time.Millisecond)
	receive(t, a.leads)
	b := newCandidate(t, c.locker("b"), time.Minute)
	proxy.Stall(redistest.Both)
	proxy.Refuse(true)
	if !receive(t, b.leads) || a.IsLeader(t.Context()) == nil || b.IsLeader(t.Context()) != nil {
		t.Errorf("a: %v, b: %v", a.IsLeader(t.Context()), b.IsLeader(t.Context()))
	}
	if receive(t, a.leads) {
		t.Error("a leads again")
	}
	if err := receive(t, a.errors); !errors.Is(err, lock.ErrLeaseLost) {
		t.Errorf("OnError: %v", err)
	}
	proxy.Heal()
	proxy.Cut()
	b.close(t)()
	if !receive(t, a.leads) || a.IsLeader(t.Context()) != nil {
		t.Error("a does not lead again")
	}
}

// What is wrong for good is told, and IsLeader says it.
func TestElectorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own, redistest.Config("requirepass", "sesame"))
	c := &cluster{t: t, server: server, namespace: server.Namespace(t)}
	o := server.Options()
	o.Password = "wrong"
	a := newCandidate(t, c.lockerOn(clientWith(t, o), "a"), 0)
	first := receive(t, a.errors)
	await(t, func() bool { // while it tries again, nothing is known to be wrong
		err := a.IsLeader(t.Context())
		return errors.Is(err, gocronworker.ErrNotLeader) && err.Error() == gocronworker.ErrNotLeader.Error()+": "+first.Error()
	})
	if again := receive(t, a.errors); again == nil { // it goes on trying
		t.Error("no error")
	}
}

// What was wrong is no reason any more when it stands in line.
func TestElectorForgetsWhatWasWrong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own, redistest.Config("requirepass", "sesame"))
	c := &cluster{t: t, server: server, namespace: server.Namespace(t)}
	o := server.Options()
	o.Password = "sesame"
	receive(t, newCandidate(t, c.lockerOn(clientWith(t, o), "b"), time.Minute).leads)
	var known atomic.Bool
	p := server.Options()
	p.CredentialsProvider = func() (user, password string) {
		if known.Load() {
			return "", "sesame"
		}
		return "", "wrong"
	}
	l := c.lockerOn(clientWith(t, p), "a")
	a := newCandidate(t, l, time.Minute)
	if err := receive(t, a.errors); errors.Is(err, lock.ErrHeld) {
		t.Errorf("OnError: %v", err)
	}
	known.Store(true)
	await(t, func() bool {
		err := a.IsLeader(t.Context())
		return l.Stats().Waiters == 1 && err != nil && err.Error() == gocronworker.ErrNotLeader.Error() // and nothing more
	})
}

// await waits until something is so.
func await(t *testing.T, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	limit := time.After(bound)
	for !is() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatal("it does not come to that")
		}
	}
}

// The scheduler's jobs run where it leads, and begin at the next one when it is closed.
func TestElectorDecidesWhoRuns(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	runs := make(chan string, 1000)
	var candidates []*candidate
	for _, name := range []string{"a", "b", "c"} {
		e := newCandidate(t, c.locker(name), time.Minute)
		if name == "a" {
			receive(t, e.leads)
		}
		candidates = append(candidates, e)
		s := scheduler(t, gocron.WithDistributedElector(e))
		if _, err := s.NewJob(gocron.DurationJob(50*time.Millisecond), gocron.NewTask(func() { runs <- name })); err != nil {
			t.Fatal(err)
		}
		s.Start()
	}
	for range 5 {
		if who := receive(t, runs); who != "a" {
			t.Errorf("%s ran", who)
		}
	}
	candidates[0].close(t)()
	next := "a"
	for next == "a" {
		next = receive(t, runs) // at first, what had begun
	}
	for range 5 {
		if who := receive(t, runs); who != next || who == "a" {
			t.Errorf("%s and %s ran", who, next)
		}
	}
}

func TestElectorOfAClosedLocker(t *testing.T) {
	t.Parallel()
	l := newCluster(t).locker("a")
	e := newCandidate(t, l, 0)
	receive(t, e.leads)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if receive(t, e.leads) {
		t.Error("it leads")
	}
	if err := receive(t, e.errors); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("OnError: %v", err)
	}
	e.close(t)()
	if err := e.IsLeader(t.Context()); !errors.Is(err, gocronworker.ErrNotLeader) {
		t.Errorf("IsLeader: %v", err)
	}
}
