package redistest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestOwnIsNotShared(t *testing.T) {
	a, b := redistest.Start(t, redistest.Own), redistest.Start(t, redistest.Own)
	if a.URL() == b.URL() {
		t.Fatalf("%s twice", a)
	}
}

func TestStoppedServerIsSilentUntilContinue(t *testing.T) {
	server := redistest.Start(t, redistest.Own)
	o := server.Options()
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}

	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var timeout net.Error
	if err := client.Ping(ctx).Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("PING of a stopped server: %v", err)
	}
	server.Continue()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestStoppedServerContinuesBeforeOtherCleanups(t *testing.T) {
	t.Run("stop", func(t *testing.T) {
		server := redistest.Start(t, redistest.Own)
		client := server.Client(t)
		t.Cleanup(func() {
			if err := client.Ping(context.Background()).Err(); err != nil {
				t.Errorf("PING while cleaning up: %v", err)
			}
		})
		server.Stop()
	})
}

func TestRestartKeepsAppendOnlyData(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []redistest.Option
		want    string
	}{
		{"append-only", []redistest.Option{redistest.AppendOnly()}, "v"},
		{"nothing kept", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t, redistest.Own, test.options...)
			client := server.Client(t)
			if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			server.Kill()
			if c, err := net.Dial("tcp", server.Addr()); err == nil {
				_ = c.Close()
				t.Fatal("a killed server still accepts")
			}
			server.Restart()
			v, err := server.Client(t).Get(t.Context(), "k").Result()
			if err != nil && !errors.Is(err, redis.Nil) || v != test.want {
				t.Fatalf("after the restart: %q, %v", v, err)
			}
		})
	}
}

func TestConfigAndUser(t *testing.T) {
	server := redistest.Start(t, redistest.Own,
		redistest.Config("maxmemory", "10mb"),
		redistest.User("app on >secret ~{ns* &{ns* -@all +get +ping"))
	if m, err := server.Client(t).ConfigGet(t.Context(), "maxmemory").Result(); err != nil || m["maxmemory"] != "10485760" {
		t.Fatalf("maxmemory: %v, %v", m, err)
	}
	o := server.Options()
	o.Username, o.Password = "app", "secret"
	app := redis.NewClient(o)
	defer func() { _ = app.Close() }()
	if err := app.Get(t.Context(), "{ns:0}:meta").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("a key that is allowed: %v", err)
	}
	for _, err := range []error{
		app.Get(t.Context(), "other").Err(),
		app.Set(t.Context(), "{ns:0}:meta", "v", 0).Err(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("what is forbidden: %v", err)
		}
	}
}

func TestServerWithoutDefaultUserStarts(t *testing.T) {
	server := redistest.Start(t, redistest.Own, redistest.User("default off"))
	if err := server.Client(t).Ping(t.Context()).Err(); err == nil {
		t.Fatal("the default user is still on")
	}
}
