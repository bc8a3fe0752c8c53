package worker

import (
	"math"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestRuns(t *testing.T) {
	const ever = lock.NoExpiry
	tests := []struct {
		name string
		run  Run
		want Run
	}{
		{"once", Once("v1.2"), Run{"v1.2", ever}},
		{"daily", Daily(at(t, "2026-11-22T23:59:59Z")), Run{"2026-11-22", 48 * time.Hour}},
		{"daily, elsewhere", Daily(at(t, "2026-11-22T23:59:59Z").In(time.FixedZone("", 3600))), Run{"2026-11-23", 48 * time.Hour}},
		{"hourly", Every(time.Hour, at(t, "2026-11-22T10:59:59.999Z")), Run{"2026-11-22T10:00:00Z", 2 * time.Hour}},
		{"hourly, elsewhere", Every(time.Hour, at(t, "2026-11-22T10:10:00+05:30")), Run{"2026-11-22T04:00:00Z", 2 * time.Hour}},
		{"the start of a period is in it", Every(time.Hour, at(t, "2026-11-22T10:00:00Z")), Run{"2026-11-22T10:00:00Z", 2 * time.Hour}},
		{"weekly, from a Thursday on, as the epoch was", Every(7*24*time.Hour, at(t, "2026-11-22T10:00:00Z")), Run{"2026-11-19T00:00:00Z", 14 * 24 * time.Hour}},
		{"seven hours, from the epoch on", Every(7*time.Hour, at(t, "1970-01-01T07:00:00Z")), Run{"1970-01-01T07:00:00Z", 14 * time.Hour}},
		{"before the epoch", Every(7*time.Hour, at(t, "1969-12-31T23:00:00Z")), Run{"1969-12-31T17:00:00Z", 14 * time.Hour}},
		{"a quarter of a second", Every(250*time.Millisecond, at(t, "2026-11-22T10:00:00.6Z")), Run{"2026-11-22T10:00:00.5Z", 500 * time.Millisecond}},
		{"a nanosecond", Every(1, at(t, "2026-11-22T10:00:00.123456789Z")), Run{"2026-11-22T10:00:00.123456789Z", 2}},
		{"centuries", Every(math.MaxInt64, at(t, "2026-11-22T10:00:00Z")), Run{"1970-01-01T00:00:00Z", ever}},
		{"no period", Every(0, time.Now()), Run{"", -1}},
		{"a negative period", Every(-time.Hour, time.Now()), Run{"", -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.run != tt.want {
				t.Errorf("%+v, want %+v", tt.run, tt.want)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	tests := []struct {
		name string
		ttl  time.Duration
		run  Run
		want time.Duration
	}{
		{"this occasion, at least a minute", 5 * time.Second, Run{}, time.Minute},
		{"this occasion, two leases", time.Hour, Run{}, 2 * time.Hour},
		{"this occasion, a very long lease", math.MaxInt64 - 1, Run{}, lock.NoExpiry},
		{"a name alone", time.Hour, Run{Name: "n"}, 2 * time.Hour},
		{"as it says", time.Hour, Run{Retention: time.Second}, time.Second},
		{"for good", time.Hour, Once("v"), lock.NoExpiry},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Config{TTL: tt.ttl}).retention(Job{Run: tt.run}); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestJobString(t *testing.T) {
	for want, job := range map[string]Job{`"a\nb"`: {Key: "a\nb"}, `"a" run "{b}"`: {Key: "a", Run: Once("{b}")}} {
		if got := job.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
