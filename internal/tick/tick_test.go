package tick_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockingworker/lockingworker/internal/tick"
	"github.com/lockingworker/lockingworker/worker"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// list is a schedule with these times.
func list(times ...time.Time) func(time.Time) time.Time {
	return func(t time.Time) time.Time {
		for _, at := range times {
			if at.After(t) {
				return at
			}
		}
		return time.Time{}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	hours := list(noon.Add(-day), noon, noon.Add(time.Hour), noon.Add(2*time.Hour))
	for _, tt := range []struct {
		name          string
		next          func(time.Time) time.Time
		now           time.Time
		at, following time.Time
	}{
		{"in time", hours, noon, noon, noon.Add(time.Hour)},
		{"late", hours, noon.Add(10 * time.Minute), noon, noon.Add(time.Hour)},
		{"as late as the next", hours, noon.Add(time.Hour), noon.Add(time.Hour), noon.Add(2 * time.Hour)},
		{"a clock that was set back", hours, noon.Add(-900 * time.Millisecond), noon, noon.Add(time.Hour)},
		{"a clock that was set back further", hours, noon.Add(-2 * time.Second), noon.Add(-day), noon},
		{"the last", hours, noon.Add(9 * day), noon.Add(2 * time.Hour), time.Time{}},
		{"before the first", hours, noon.Add(-2 * day), time.Time{}, noon.Add(-day)},
		{"none", list(), noon, time.Time{}, time.Time{}},
		{"years ago", list(noon.Add(-4 * 366 * day)), noon, noon.Add(-4 * 366 * day), time.Time{}},
		{"short periods", list(noon, noon.Add(100*time.Millisecond), noon.Add(200*time.Millisecond)),
			noon.Add(60 * time.Millisecond), noon, noon.Add(100 * time.Millisecond)},
		{"short periods, early", list(noon, noon.Add(100*time.Millisecond), noon.Add(200*time.Millisecond)),
			noon.Add(80 * time.Millisecond), noon.Add(100 * time.Millisecond), noon.Add(200 * time.Millisecond)},
		{"a schedule that stands still", func(time.Time) time.Time { return noon }, noon.Add(time.Hour), noon, noon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if at, following := tick.Of(tt.next, tt.now); !at.Equal(tt.at) || !following.Equal(tt.following) {
				t.Errorf("%v, %v; want %v, %v", at, following, tt.at, tt.following)
			}
		})
	}
}

// Whatever the schedule: what Of finds is what a list of its times says.
func TestOfFindsTheLast(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var times []time.Time
		for _, gap := range rapid.SliceOfN(rapid.Int64Range(1, 1e15), 1, 50).Draw(t, "gaps") {
			at := noon
			if n := len(times); n > 0 {
				at = times[n-1]
			}
			times = append(times, at.Add(time.Duration(gap)))
		}
		now := noon.Add(time.Duration(rapid.Int64Range(0, 6e16).Draw(t, "now")))
		i, found := slices.BinarySearchFunc(times, now, time.Time.Compare)
		if found {
			i++
		}
		var want [2]time.Time // the last that is not after now, and the next
		copy(want[1:], times[i:])
		if i > 0 {
			want[0] = times[i-1]
		}
		if i > 0 && i < len(times) && want[1].Sub(now) <= tick.Slack(want[1].Sub(want[0])) {
			want = [2]time.Time{want[1]}
			copy(want[1:], times[i+1:])
		}
		if at, following := tick.Of(list(times...), now); !at.Equal(want[0]) || !following.Equal(want[1]) {
			t.Fatalf("%v, %v; want %v", at, following, want)
		}
	})
}

// Many times in the search's reach cost few looks.
func TestOfIsQuick(t *testing.T) {
	t.Parallel()
	looks := 0
	january := func(t time.Time) time.Time { // each second of January
		looks++
		if t = t.UTC().Truncate(time.Second).Add(time.Second); t.Month() != time.January {
			return time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		return t
	}
	at, following := tick.Of(january, noon)
	if want := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC); !at.Equal(want) || following.Year() != 2027 {
		t.Errorf("%v, %v", at, following)
	}
	if looks > 200 {
		t.Errorf("%d looks", looks)
	}
}

func TestPeriodIsThatOfEvery(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{time.Millisecond, 7 * time.Second, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		for _, after := range []time.Duration{0, 1, d - 1, d / 2} {
			start, _ := tick.Period(d, noon)
			at, following := tick.Period(d, start.Add(after))
			if at != start || following != start.Add(d) {
				t.Errorf("%v after %v: %v, %v", after, start, at, following)
			}
			if got, want := tick.Run(at, following).Name, worker.Every(d, start.Add(after)).Name; got != want {
				t.Errorf("run %q, want %q", got, want)
			}
		}
	}
}

func TestRunIsRememberedLongEnough(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		following time.Time
		want      time.Duration
	}{
		{noon.Add(time.Second), 10 * time.Minute},
		{noon.Add(time.Hour), 2 * time.Hour},
		{time.Time{}, 48 * time.Hour},
	} {
		if got := tick.Run(noon, tt.following); got.Retention != tt.want || got.Name != "2026-11-22T12:00:00Z" {
			t.Errorf("%+v, want %v", got, tt.want)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if got := tick.Run(noon.In(berlin), noon).Name; got != "2026-11-22T12:00:00Z" {
		t.Errorf("%q: the name depends on the location", got)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	if at := tick.From(context.Background()); !at.IsZero() {
		t.Error(at)
	}
	if at := tick.From(tick.With(context.Background(), noon)); !at.Equal(noon) {
		t.Error(at)
	}
}
