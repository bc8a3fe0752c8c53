package main

import (
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

func TestAfternoon(t *testing.T) {
	t.Parallel()
	for _, real := range []bool{false, true} {
		t.Run(map[bool]string{false: "embedded", true: "real"}[real], func(t *testing.T) {
			t.Parallel()
			args, redis := []string{"-lease", "4s"}, "embedded"
			var server *redistest.Server
			if real {
				server = redistest.Start(t, redistest.Own)
				args, redis = append(args, "-redis", server.URL()), server.Addr()
			}
			p := demotest.Start(t, args...)
			status, s := p.Finish()
			delete(s, "elapsed")
			want := demotest.Summary{
				"outcome": "completed", "locked": "7", "refused": "4", "forced": "1", "expired": "2", "saved": "3", "saves_refused": "1", "redis": redis,
			}
			if status != 0 || !maps.Equal(s, want) {
				t.Errorf("exit status %d, %v, want %v", status, s, want)
			}
			for _, line := range []string{
				`^  bob sees: sport is alice's, for [34]`,
				`^  alice, second tab sees: weather is alice's, for `,
				`^  bob sees: sport is alice's$`,
				`^  alice sees: sport is not saved, somebody has taken it over$`,
				`^  alice sees: sport is admin's$`,
				`^      at the side: sport is admin's$`,
				`^      at the side: front is free, alice has not been heard of$`,
				`^      at the side: weather is free, alice has not been heard of$`,
				`^  all see: front is alice's$`,
			} {
				if p.Count(line) != 1 {
					t.Errorf("%d lines %s", p.Count(line), line)
				}
			}
			if real {
				nothingIsLocked(t, server)
			}
		})
	}
}

func nothingIsLocked(t *testing.T, server *redistest.Server) {
	t.Helper()
	l, err := lock.New(server.Client(t), lock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for r, err := range l.List(t.Context(), lock.Query{}) {
		t.Errorf("left: %+v, %v", r, err)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-lease", "5m")
	p.Await(`^Alice closes her laptop`)
	p.Signal(syscall.SIGTERM)
	if status, s := p.Finish(); status != 1 || s["outcome"] != "interrupted" || s.Int("expired") != 0 {
		t.Errorf("exit status %d, %v", status, s)
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"-leases 3s", 2, "-leases"},
		{"8", 2, `"8"`},
		{"-lease 1ms", 2, "-lease 1ms"},
		{"-redis redis://u:sesame/#@127.0.0.1:1", 1, "want redis://"},
		{"-redis redis://u:sesame@127.0.0.1:1", 1, "redis at 127.0.0.1:1"},
		{"-help", 0, "-lease"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			p := demotest.Start(t, strings.Fields(tt.args)...)
			status, _ := p.Finish()
			if status != tt.status || !strings.Contains(p.Errors(), tt.want) || strings.Contains(p.Errors(), "sesame") {
				t.Errorf("exit status %d, standard error:\n%s", status, p.Errors())
			}
		})
	}
}
