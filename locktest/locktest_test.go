package locktest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/locktest"
	"github.com/lockingworker/lockingworker/worker"
)

// inAndOut runs a test inside a bubble and outside.
func inAndOut(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("in real time", test)
}

func newWorker(t *testing.T, l *lock.Locker, cfg worker.Config) *worker.Worker {
	t.Helper()
	w, err := worker.New(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The test that docs/testing.md shows waits for no real time: seconds of the bubble's are milliseconds.
func TestReportTakesNoTime(t *testing.T) {
	best, most := time.Hour, slower*50*time.Millisecond
	for range 20 { // the machine may be busy now and then
		began := time.Now()
		t.Run("", TestReportIsSentInTheEnd)
		if best = min(best, time.Since(began)); best < most {
			return
		}
	}
	t.Errorf("it took %v at least", best)
}

// Leases are renewed for a thousand minutes, keys expire, and hardly any real time passes.
func TestThousandMinutes(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		r := locktest.New(t)
		client := r.Client()
		if err := client.Set(t.Context(), "key", "value", 999*time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		lease, err := r.Locker(lock.Config{TTL: 10 * time.Minute}).Hold(t.Context(), lock.Claim{Resource: "r"})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := client.Exists(t.Context(), "key").Result(); n != 1 || err != nil {
			t.Errorf("before: %d, %v", n, err)
		}
		time.Sleep(1000 * time.Minute)
		if n, err := client.Exists(t.Context(), "key").Result(); n != 0 || err != nil {
			t.Errorf("after: %d, %v", n, err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Errorf("the lease was not kept: %v", err)
		}
	})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestTakenLeaseIsLost(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		r := locktest.New(t)
		locker := r.Locker(lock.Config{Namespace: "shop", Shards: 3, TTL: 300 * time.Millisecond})
		lease, err := locker.Hold(t.Context(), lock.Claim{Resource: "r"})
		if err != nil {
			t.Fatal(err)
		}
		giveBack := r.Take("r", "another", time.Hour)
		<-lease.Context().Done()
		if cause := context.Cause(lease.Context()); !errors.Is(cause, lock.ErrLeaseLost) {
			t.Error(cause)
		}
		owners, err := locker.Owners(t.Context(), "r")
		if err != nil || owners[0].Owner != "another" || owners[0].Fence <= lease.Fence() {
			t.Errorf("%+v, %v", owners, err)
		}
		for range 2 { // the second time does nothing
			giveBack()
			if owners, err := locker.Owners(t.Context(), "r"); err != nil || owners[0].Owner != "" {
				t.Errorf("%+v, %v", owners, err)
			}
		}
	})
}

// What was taken is waited for, until it is given back or over.
func TestTakenLockIsWaitedFor(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		r := locktest.New(t)
		giveBack := r.Take("job", "another", time.Hour)
		locked := make(chan string, 1)
		w := newWorker(t, r.Locker(lock.Config{}), worker.Config{Handlers: worker.Handlers{
			OnLocked: func(_ worker.Job, holder string) { locked <- holder },
		}})
		outcomes := make(chan worker.Outcome)
		go func() {
			outcome, err := w.Run(t.Context(), worker.Job{Key: "job"}, func(context.Context, worker.Attempt) error { return nil })
			if err != nil {
				t.Error(err)
			}
			outcomes <- outcome
		}()
		if holder := <-locked; holder != "another" {
			t.Errorf("held by %q", holder)
		}
		giveBack()
		if outcome := <-outcomes; outcome != worker.Completed {
			t.Error(outcome)
		}
	})
}

func TestTakenUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := locktest.New(t)
		began := time.Now()
		r.Take("r", "another", time.Minute)
		lease, err := r.Locker(lock.Config{}).Hold(t.Context(), lock.Claim{Resource: "r"})
		if took := time.Since(began); err != nil || took < time.Minute || took > time.Minute+10*time.Millisecond {
			t.Fatalf("%v after %v", err, took)
		}
		_ = lease.Release(t.Context())
	})
}

// A client never sends again by itself.
type client struct {
	*redis.Client
	r *locktest.Redis
}

func redisAndClient(t *testing.T) (client, context.Context) {
	t.Helper()
	r := locktest.New(t)
	o := r.Options()
	o.MaxRetries = -1
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return client{c, r}, t.Context()
}

// A tb notes what is wrong instead of failing.
type tb struct {
	testing.TB
	errors []string
}

func (t *tb) Errorf(format string, _ ...any) { t.errors = append(t.errors, format) }

func TestTakeNeedsOneNamespace(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		noting := &tb{TB: t}
		r := locktest.New(noting)
		r.Locker(lock.Config{Namespace: "one"})
		r.Take("r", "another", time.Second)
		if len(noting.errors) > 0 {
			t.Fatal(noting.errors)
		}
		other := r.Locker(lock.Config{Namespace: "other"})
		r.Take("r", "another", time.Second)()
		if len(noting.errors) != 1 {
			t.Errorf("%d errors with two namespaces", len(noting.errors))
		}
		if owners, err := other.Owners(t.Context(), "r"); err != nil || owners[0].Owner != "" {
			t.Errorf("%+v, %v", owners, err)
		}
	})
}

func TestFailNext(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		client, ctx := redisAndClient(t)
		r := client.r
		r.FailNext(1, "ERR not now")
		pipe := client.Pipeline()
		refused, kept := pipe.Set(ctx, "a", "x", 0), pipe.Set(ctx, "b", "x", 0)
		if _, err := pipe.Exec(ctx); err == nil || refused.Err().Error() != "ERR not now" || kept.Err() != nil {
			t.Errorf("%v, %v, %v", err, refused.Err(), kept.Err())
		}
		r.FailNext(2, "")
		for range 2 {
			if err := client.Set(ctx, "c", "x", 0).Err(); !errors.Is(err, io.EOF) {
				t.Errorf("it should have failed: %v", err)
			}
		}
		if err := client.Set(ctx, "d", "x", 0).Err(); err != nil {
			t.Errorf("only two were to fail: %v", err)
		}
		r.FailNext(math.MaxInt, "")
		r.Take("r", "another", time.Hour)() // is not a command of the program's
		subscription := client.Subscribe(ctx, "channel")
		defer subscription.Close()
		if _, err := subscription.Receive(ctx); err != nil {
			t.Errorf("a subscription is no command: %v", err)
		}
		r.FailNext(0, "")
		if n, err := client.Exists(ctx, "a", "b", "c", "d").Result(); n != 2 || err != nil {
			t.Errorf("%d of 2 executed, %v", n, err)
		}
	})
}

// A worker goes on trying while Redis is out of order, and its lease is over when that takes too long.
func TestRedisOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := locktest.New(t)
		w := newWorker(t, r.Locker(lock.Config{}), worker.Config{})
		numbers := 0
		outcome, err := w.Run(t.Context(), worker.Job{Key: "job"}, func(ctx context.Context, a worker.Attempt) error {
			numbers += a.Number
			if a.Number == 1 {
				r.FailNext(math.MaxInt, "")
				time.AfterFunc(time.Minute, func() { r.FailNext(0, "") })
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrLeaseLost) {
					t.Error(cause)
				}
				return ctx.Err()
			}
			return nil
		})
		if outcome != worker.Completed || err != nil || numbers != 1+2 {
			t.Errorf("%v, %v, %d", outcome, err, numbers)
		}
	})
}

// What is executed without a reply is found out: no attempt is counted twice, and done is done.
func TestDropReplies(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		r := locktest.New(t)
		w := newWorker(t, r.Locker(lock.Config{}), worker.Config{})
		job := worker.Job{Key: "job", Run: worker.Once("1")}
		r.DropReplies(1)
		grant, err := w.Acquire(t.Context(), job)
		if err != nil || grant.Attempt().Number != 1 {
			t.Fatalf("%+v, %v", grant, err)
		}
		r.DropReplies(1)
		if err := grant.Done(t.Context()); err != nil {
			t.Error(err)
		}
		info, err := w.State(t.Context(), job)
		if err != nil || info.State != lock.JobDone || info.Attempt != 1 {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

// It is unknown for as long as no reply comes.
func TestRepliesDroppedUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := locktest.New(t)
		w := newWorker(t, r.Locker(lock.Config{}), worker.Config{})
		job := worker.Job{Key: "job", Run: worker.Once("1")}
		grant, err := w.Acquire(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		r.DropReplies(math.MaxInt)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := grant.Done(ctx); !errors.Is(err, lock.ErrOutcomeUnknown) {
			t.Errorf("Done: %v", err)
		}
		r.DropReplies(0)
		if info, err := w.State(t.Context(), job); err != nil || info.State != lock.JobDone {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

func TestDroppedReplyIsOfWhatWasExecuted(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		client, ctx := redisAndClient(t)
		client.r.DropReplies(1)
		if err := client.EvalSha(ctx, strings.Repeat("0", 40), nil).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
			t.Errorf("an error does not count: %v", err)
		}
		pipe := client.Pipeline()
		before, after := pipe.Incr(ctx, "n"), pipe.Incr(ctx, "n")
		if _, err := pipe.Exec(ctx); err == nil || !errors.Is(before.Err(), io.EOF) || !errors.Is(after.Err(), io.EOF) {
			t.Errorf("%v, %v, %v", err, before.Err(), after.Err())
		}
		if n, err := client.Get(ctx, "n").Int(); n != 1 || err != nil {
			t.Errorf("executed %d times, %v; want what came before the connection broke", n, err)
		}
	})
}

// Whoever waits is not told, and comes back by a timer.
func TestDropMessages(t *testing.T) {
	for _, dropped := range []int{0, math.MaxInt} {
		synctest.Test(t, func(t *testing.T) {
			r := locktest.New(t)
			giveBack := r.Take("r", "another", time.Hour)
			locker := r.Locker(lock.Config{})
			granted, done := make(chan time.Time, 1), make(chan error)
			go func() {
				done <- locker.Do(t.Context(), lock.Claim{Resource: "r"}, func(context.Context, *lock.Lease) error {
					granted <- time.Now()
					return nil
				})
			}()
			time.Sleep(500 * time.Millisecond)
			r.DropMessages(dropped)
			began := time.Now()
			giveBack()
			late := (<-granted).Sub(began)
			if (late > 10*time.Millisecond) != (dropped > 0) || late > 1100*time.Millisecond {
				t.Errorf("%d messages dropped: granted after %v", dropped, late)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// What a program leaves behind ends all the same: subscriptions, transactions, commands that block, leases, and waiters
// who cannot even leave the queue.
func TestEverythingEnds(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		var r *locktest.Redis
		ended := make(chan error, 2)
		var ending time.Time
		t.Cleanup(func() { // is called after those of r
			if took := time.Since(ending); ending.Year() == 2000 && took > time.Second { // by a bubble's clock
				t.Errorf("it took %v", took)
			}
			for range cap(ended) {
				if err := <-ended; err == nil {
					t.Error("a call succeeded")
				}
			}
			if _, err := r.Options().Dialer(context.Background(), "", ""); err == nil {
				t.Error("there is still a server")
			}
			stacks := make([]byte, 1<<20)
			if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("(*Redis).serve")) {
				t.Errorf("there are still connections:\n%s", stacks)
			}
		})
		r = locktest.New(t)
		if _, err := r.Options().Dialer(t.Context(), "", ""); err != nil { // nobody closes it
			t.Fatal(err)
		}
		for _, protocol := range []int{2, 3} {
			o := r.Options()
			o.Protocol = protocol
			own := redis.NewClient(o)
			t.Cleanup(func() { _ = own.Close() })
			s := own.Subscribe(t.Context(), "channel")
			t.Cleanup(func() { _ = s.Close() })
			if _, err := s.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := own.Conn().Do(t.Context(), "multi").Err(); err != nil {
				t.Fatal(err)
			}
		}
		go func() { ended <- r.Client().BLPop(context.Background(), 0, "list").Err() }()
		locker := r.Locker(lock.Config{})
		if _, err := locker.Hold(t.Context(), lock.Claim{Resource: "r"}); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := locker.Hold(context.Background(), lock.Claim{Resource: "r"})
			ended <- err
		}()
		for locker.Stats().Waiters == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond) // it is in the queue
		r.FailNext(math.MaxInt, "")
		ending = time.Now()
	})
}

// A bubble leaves nothing to the next one that would be deadly there, nor to one beside it.
func TestManyBubbles(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 3 {
				synctest.Test(t, func(t *testing.T) {
					w := newWorker(t, locktest.New(t).Locker(lock.Config{}), worker.Config{Concurrency: 10})
					jobs := func(yield func(worker.Job) bool) {
						for i := range 30 {
							if !yield(worker.Job{Key: strings.Repeat("x", i+1)}) {
								return
							}
						}
					}
					summary, err := w.RunAll(t.Context(), jobs, func(context.Context, worker.Attempt) error {
						time.Sleep(time.Second)
						return nil
					})
					if err != nil || summary.Completed != 30 {
						t.Errorf("%v, %v", summary, err)
					}
				})
			}
		})
	}
}

// Programs that do not import this package do not contain it, nor the embedded server.
func TestNotLinkedIntoPrograms(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "../lock", "../worker", "../status", "../status/statustest")
	deps, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "github.com/redis/go-redis/v9") {
		t.Fatalf("go list: %s", deps)
	}
	for _, d := range strings.Fields(string(deps)) {
		if strings.Contains(d, "miniredis") || strings.Contains(d, "locktest") || d == "testing" {
			t.Errorf("they import %s", d)
		}
	}
}
