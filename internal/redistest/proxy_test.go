package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// both runs a test with both versions of the protocol.
func both(t *testing.T, test func(t *testing.T, protocol int)) {
	t.Helper()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) { test(t, protocol) })
	}
}

// proxied returns a server, a proxy in front of it and a client through that, which sends everything once.
func proxied(t *testing.T, protocol int) (*redistest.Server, *redistest.Proxy, *redis.Client) {
	t.Helper()
	server := redistest.Start(t, redistest.Any)
	proxy := redistest.NewProxy(t, server.Addr())
	o := server.Options()
	o.Addr, o.Protocol, o.MaxRetries = proxy.Addr(), protocol, -1
	o.ContextTimeoutEnabled = true
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	proxy.ResetCounters()
	return server, proxy, client
}

// soon is a context for what must not come.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// await waits for a signal.
func await(t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(10 * time.Second):
		t.Fatal("the signal did not come within 10 s")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestProxyPassesEverything(t *testing.T) {
	both(t, func(t *testing.T, protocol int) {
		server, _, client := proxied(t, protocol)
		ns := server.Namespace(t)
		large := strings.Repeat("x", 1<<20)
		pipe := client.Pipeline()
		pipe.Set(t.Context(), ns+":large", large, 0)
		pipe.HSet(t.Context(), ns+":hash", "a", "1", "b", "2")
		got := pipe.Get(t.Context(), ns+":large")
		hash := pipe.HGetAll(t.Context(), ns+":hash")
		missing := pipe.Get(t.Context(), ns+":missing")
		wrong := pipe.LPush(t.Context(), ns+":hash", "v")
		nested := pipe.Eval(t.Context(), "return {1, {'a', {false}}, 'b'}", nil)
		if _, err := pipe.Exec(t.Context()); err == nil {
			t.Fatal("no error from WRONGTYPE")
		}
		if got.Val() != large || hash.Val()["b"] != "2" || !errors.Is(missing.Err(), redis.Nil) {
			t.Errorf("large %d bytes, hash %v, missing %v", len(got.Val()), hash.Val(), missing.Err())
		}
		if err := wrong.Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
			t.Errorf("LPUSH on a hash: %v", err)
		}
		if s := fmt.Sprint(nested.Val()); s != "[1 [a [<nil>]] b]" {
			t.Errorf("nested reply: %s", s)
		}
		tx, err := client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), ns+":n")
			p.Incr(t.Context(), ns+":n")
			return nil
		})
		if err != nil || tx[1].(*redis.IntCmd).Val() != 2 {
			t.Errorf("transaction: %v, %v", tx, err)
		}
	})
}

func TestRoundTripsAreCounted(t *testing.T) {
	both(t, func(t *testing.T, protocol int) {
		_, proxy, client := proxied(t, protocol)
		for range 3 {
			client.Echo(t.Context(), "x")
		}
		if n := proxy.RoundTrips(); n != 3 {
			t.Errorf("3 single commands: %d round trips", n)
		}
		pipe := client.Pipeline()
		pipe.Ping(t.Context())
		if _, err := pipe.Exec(t.Context()); err != nil { // go-redis has other connections for pipelines
			t.Fatal(err)
		}
		proxy.ResetCounters()
		// Far more than the client's write buffer: it comes in many packets, and the server answers the first at once.
		for range 5000 {
			pipe.Echo(t.Context(), strings.Repeat("x", 100))
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := proxy.RoundTrips(); n != 1 {
			t.Errorf("one pipeline: %d round trips", n)
		}
		if c := proxy.Commands(); len(c) != 1 || c["echo"] != 5000 {
			t.Errorf("commands: %v", c)
		}
	})
}

func TestMessagesAreDroppedAndNothingElse(t *testing.T) {
	both(t, func(t *testing.T, protocol int) {
		server, proxy, client := proxied(t, protocol)
		ns := server.Namespace(t)
		sub := client.Subscribe(t.Context(), ns+":a", ns+":b")
		defer func() { _ = sub.Close() }()
		for range 2 {
			if _, err := sub.ReceiveTimeout(t.Context(), 10*time.Second); err != nil {
				t.Fatalf("confirmation: %v", err)
			}
		}
		publish := func(channel, payload string) {
			t.Helper()
			if n, err := client.Publish(t.Context(), ns+channel, payload).Result(); err != nil || n == 0 {
				t.Fatalf("Publish: %d, %v", n, err)
			}
		}
		next := func() string {
			t.Helper()
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return m.Payload
		}
		proxy.DropMessages(func(channel string) bool { return channel == ns+":a" })
		publish(":a", "dropped")
		publish(":b", "1")
		if got := next(); got != "1" {
			t.Fatalf("received %q", got)
		}
		if n := proxy.DroppedMessages(); n != 1 {
			t.Fatalf("%d messages were dropped", n)
		}
		// All messages are dropped; confirmations, replies to PING and other connections are not.
		proxy.DropMessages(nil)
		publish(":a", "dropped")
		if err := sub.PSubscribe(t.Context(), ns+":c*"); err != nil {
			t.Fatal(err)
		}
		if m, err := sub.ReceiveTimeout(t.Context(), 10*time.Second); err != nil || m.(*redis.Subscription).Kind != "psubscribe" {
			t.Fatalf("confirmation while messages are dropped: %v, %v", m, err)
		}
		publish(":c1", "dropped")
		if err := sub.Ping(t.Context(), "hello"); err != nil {
			t.Fatal(err)
		}
		if m, err := sub.ReceiveTimeout(t.Context(), 10*time.Second); err != nil || m.(*redis.Pong).Payload != "hello" {
			t.Fatalf("PING while messages are dropped: %v, %v", m, err)
		}
		if n := proxy.DroppedMessages(); n != 3 {
			t.Fatalf("%d messages were dropped", n)
		}
		proxy.PassMessages()
		publish(":a", "2")
		if got := next(); got != "2" {
			t.Fatalf("received %q", got)
		}
	})
}

func TestCommandIsExecutedThoughItsReplyIsLost(t *testing.T) {
	for _, test := range []struct {
		name string
		then redistest.Then
		want func(error) bool
	}{
		{"hang", redistest.ThenHang, isTimeout},
		{"cut", redistest.ThenCut, func(err error) bool { return !isTimeout(err) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, protocol int) {
				server, proxy, client := proxied(t, protocol)
				key := server.Namespace(t)
				loss := proxy.DropReplies(redistest.Named("incr"), 1, test.then)
				ctx := soon(t)
				if test.then == redistest.ThenCut {
					ctx = t.Context()
				}
				if err := client.Incr(ctx, key).Err(); err == nil || !test.want(err) {
					t.Fatalf("reply lost: %v", err)
				}
				await(t, loss.Done())
				if n, err := server.Client(t).Get(t.Context(), key).Int(); err != nil || n != 1 {
					t.Fatalf("at the server: %d, %v", n, err)
				}
				if n, err := client.Incr(t.Context(), key).Result(); err != nil || n != 2 {
					t.Fatalf("only one reply was to be lost: %d, %v", n, err)
				}
			})
		})
	}
}

func TestCommandIsNotExecutedIfItIsLost(t *testing.T) {
	for _, then := range []redistest.Then{redistest.ThenHang, redistest.ThenCut} {
		server, proxy, client := proxied(t, 3)
		key := server.Namespace(t)
		loss := proxy.DropRequests(func(command []string) bool { return command[0] == "incr" && command[1] == key }, 1, then)
		if err := client.Incr(soon(t), key).Err(); err == nil {
			t.Fatal("a lost request was answered")
		}
		await(t, loss.Done())
		if n, err := client.Incr(t.Context(), key).Result(); err != nil || n != 1 {
			t.Fatalf("after a lost request: %d, %v", n, err)
		}
	}
}

func TestLossInPipelineLeavesEarlierReplies(t *testing.T) {
	for _, test := range []struct {
		name     string
		lose     func(*redistest.Proxy, func([]string) bool, int, redistest.Then) *redistest.Loss
		executed int
	}{
		{"reply", (*redistest.Proxy).DropReplies, 3},
		{"request", (*redistest.Proxy).DropRequests, 1},
	} {
		for _, then := range []redistest.Then{redistest.ThenHang, redistest.ThenCut} {
			t.Run(fmt.Sprintf("%s %d", test.name, then), func(t *testing.T) {
				server, proxy, client := proxied(t, 3)
				ns := server.Namespace(t)
				second := func(command []string) bool { return command[0] == "incr" && command[1] == ns+":2" }
				loss := test.lose(proxy, second, 1, then)
				pipe := client.Pipeline()
				var replies []*redis.IntCmd
				for i := range 3 {
					replies = append(replies, pipe.Incr(t.Context(), fmt.Sprintf("%s:%d", ns, i+1)))
				}
				if _, err := pipe.Exec(soon(t)); err == nil {
					t.Fatal("no error")
				}
				await(t, loss.Done())
				if replies[0].Val() != 1 || replies[1].Err() == nil || replies[2].Err() == nil {
					t.Errorf("replies: %v", replies)
				}
				executed := 0
				for i := range 3 {
					executed += int(server.Client(t).Exists(t.Context(), fmt.Sprintf("%s:%d", ns, i+1)).Val())
				}
				if executed != test.executed {
					t.Errorf("%d commands were executed, want %d", executed, test.executed)
				}
			})
		}
	}
}

func TestStalledRequestIsExecutedAfterItsCallerLeft(t *testing.T) {
	server, proxy, client := proxied(t, 3)
	key := server.Namespace(t)
	proxy.Stall(redistest.Requests)
	if err := client.Incr(soon(t), key).Err(); !isTimeout(err) {
		t.Fatalf("while stalled: %v", err)
	}
	direct := server.Client(t)
	if n := direct.Exists(t.Context(), key).Val(); n != 0 {
		t.Fatal("a stalled request was executed")
	}
	proxy.Resume(redistest.Requests)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	eventually(t, ctx, func(ctx context.Context) error { return direct.Get(ctx, key).Err() })
}

func TestStalledReplyArrivesAfterResume(t *testing.T) {
	server, proxy, client := proxied(t, 3)
	key := server.Namespace(t)
	proxy.Stall(redistest.Replies)
	result := make(chan error, 1)
	go func() { result <- client.Incr(context.Background(), key).Err() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	direct := server.Client(t)
	eventually(t, ctx, func(ctx context.Context) error { return direct.Get(ctx, key).Err() })
	select {
	case err := <-result:
		t.Fatalf("answered while stalled: %v", err)
	default:
	}
	proxy.Heal()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestCutAndRefuse(t *testing.T) {
	_, proxy, client := proxied(t, 3)
	proxy.Refuse(true)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("a connection that is open: %v", err)
	}
	proxy.Cut()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("PING after Cut, while new connections are refused")
	}
	proxy.Refuse(false)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestDelay(t *testing.T) {
	const delay = 50 * time.Millisecond
	for name, slow := range map[string]func(*redistest.Proxy, time.Duration){"replies": (*redistest.Proxy).Delay, "requests": (*redistest.Proxy).DelayRequests} {
		t.Run(name, func(t *testing.T) {
			_, proxy, client := proxied(t, 3)
			slow(proxy, delay)
			start := time.Now()
			if err := client.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d < delay {
				t.Fatalf("answered after %v", d)
			}
		})
	}
}

// What a client that has left sent before is executed all the same, late.
func TestDelayedRequestOfAClientThatLeft(t *testing.T) {
	server, proxy, _ := proxied(t, 3)
	key := server.Namespace(t)
	o := server.Options()
	o.Addr, o.MaxRetries, o.ReadTimeout = proxy.Addr(), -1, 50*time.Millisecond
	client := redis.NewClient(o)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	proxy.DelayRequests(200 * time.Millisecond)
	if err := client.Set(t.Context(), key, "late", 0).Err(); err == nil {
		t.Error("answered in time")
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	direct := server.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	eventually(t, ctx, func(ctx context.Context) error { return direct.Get(ctx, key).Err() })
}

func TestProxyBeforeServerThatDied(t *testing.T) {
	server := redistest.Start(t, redistest.Own)
	proxy := redistest.NewProxy(t, server.Addr())
	o := server.Options()
	o.Addr, o.MaxRetries = proxy.Addr(), -1
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("PING of a killed server")
	}
	server.Restart()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestClusterThroughProxies(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Real)
	proxies := c.Proxies(t)
	o := c.Options()
	o.Dialer = redistest.Dialer(proxies...)
	client := redis.NewClusterClient(o)
	defer func() { _ = client.Close() }()
	ns := c.Namespace(t)
	for i := range 30 {
		if err := client.Set(t.Context(), fmt.Sprintf("%s:%d", ns, i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	sets := 0
	for i, p := range proxies {
		n := p.Commands()["set"]
		sets += n
		if i < 3 && n == 0 {
			t.Errorf("no SET came through the proxy of master %d", i)
		}
	}
	if sets != 30 {
		t.Errorf("%d of 30 SETs came through the proxies", sets)
	}
}
