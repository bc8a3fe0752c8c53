package redistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestAnyServes(t *testing.T) {
	server := redistest.Start(t, redistest.Any)
	client := server.Client(t)
	key := server.Namespace(t)
	if err := client.Set(t.Context(), key, "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := client.Get(t.Context(), key).Result(); err != nil || v != "v" {
		t.Fatalf("Get: %q, %v", v, err)
	}
}

func TestOneServerIsShared(t *testing.T) {
	a, b := redistest.Start(t, redistest.Any), redistest.Start(t, redistest.Any)
	if a.URL() != b.URL() {
		t.Fatalf("%s and %s", a, b)
	}
	if !strings.HasPrefix(a.Addr(), "127.0.0.1:") {
		t.Errorf("Addr %s is not loopback", a.Addr())
	}
}

func TestRealIsReal(t *testing.T) {
	server := redistest.Start(t, redistest.Real)
	if !server.Real() {
		t.Fatalf("%s is not real", server)
	}
	// The embedded Lua prints all sixteen digits.
	s, err := server.Client(t).Eval(t.Context(), "return tostring(1000000000000000)", nil).Text()
	if err != nil || s != "1e+15" {
		t.Fatalf("Lua prints %q, %v", s, err)
	}
}

func TestNamespacesDiffer(t *testing.T) {
	server := redistest.Start(t, redistest.Any)
	a, b := server.Namespace(t), server.Namespace(t)
	if a == b {
		t.Fatalf("%q twice", a)
	}
	if !strings.HasPrefix(a, "TestNamespacesDiffer-") || strings.ContainsAny(a, "{}*?[] ") {
		t.Fatalf("%q", a)
	}
}

func TestSharedServerCannotBeStopped(t *testing.T) {
	r := &recorder{TB: t}
	redistest.Start(r, redistest.Any).Kill()
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], "redistest.Own") {
		t.Fatalf("errors: %q", r.errors)
	}
}

func TestCommandstats(t *testing.T) {
	client := redistest.Start(t, redistest.Own).Client(t)
	for range 3 {
		if err := client.Get(t.Context(), "k").Err(); err == nil {
			t.Fatal("the key exists")
		}
	}
	stats, err := redistest.Commandstats(t.Context(), client)
	if err != nil || stats["get"] != 3 {
		t.Fatalf("%v, %v", stats, err)
	}
}
