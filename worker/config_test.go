package worker

import (
	"math"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

func TestNewChecksItsConfig(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string // the error; "" for none
	}{
		{"zero", Config{}, ""},
		{"everything", Config{TTL: 10 * time.Millisecond, MaxAttempts: 1, MaxWait: NoWait, WorkTimeout: 1, StatusLevel: status.Verbose}, ""},
		{"short lease", Config{TTL: 9 * time.Millisecond}, "worker: Config.TTL 9ms: want at least 10ms"},
		{"negative lease", Config{TTL: -1}, "worker: Config.TTL -1ns: want at least 10ms"},
		{"no expiry", Config{TTL: lock.NoExpiry}, "worker: Config.TTL is NoExpiry: a dead worker would never be replaced"},
		{"no attempt", Config{MaxAttempts: -1}, "worker: Config.MaxAttempts -1: want at least 1"},
		{"negative wait", Config{MaxWait: -time.Second}, "worker: Config.MaxWait -1s: want NoWait, or 0 or more"},
		{"negative timeout", Config{WorkTimeout: -1}, "worker: Config.WorkTimeout -1ns: want 0 or more"},
		{"timeout and lease do not fit", Config{WorkTimeout: math.MaxInt64},
			"worker: Config.WorkTimeout 2562047h47m16.854775807s + TTL 5s: want at most 2562047h47m16.854775807s"},
		{"no concurrency", Config{Concurrency: -1}, "worker: Config.Concurrency -1: want 1 to 100000"},
		{"no level", Config{StatusLevel: 7}, "worker: Config.StatusLevel Level(7): want silent, normal or verbose"},
		{"all at once", Config{TTL: 1, MaxAttempts: -2},
			"worker: Config.TTL 1ns: want at least 10ms\nworker: Config.MaxAttempts -2: want at least 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, err := New(&lock.Locker{}, tt.cfg)
			switch {
			case tt.want == "" && (err != nil || w == nil):
				t.Errorf("New: %v", err)
			case tt.want != "" && (err == nil || err.Error() != tt.want || w != nil):
				t.Errorf("New: %q, want %q", err, tt.want)
			case tt.want != "":
				wantIs(t, err, lock.ErrInvalid)
			}
		})
	}
	if _, err := New(nil, Config{TTL: 1}); err == nil || err.Error() != "worker: Locker is nil\nworker: Config.TTL 1ns: want at least 10ms" {
		t.Errorf("New(nil): %q", err)
	}
}

func TestDefaults(t *testing.T) {
	cfg, err := Config{}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TTL != 5*time.Second || cfg.MaxAttempts != 5 || cfg.MaxWait != 0 || cfg.WorkTimeout != 0 ||
		cfg.StatusLevel != status.Normal || cfg.RetryDelay == nil || cfg.Logger == nil {
		t.Errorf("defaults: %+v", cfg)
	}
}
