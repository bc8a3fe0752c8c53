package cronworker_test

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lockingworker/lockingworker/internal/tick"
)

// Whatever the clocks on the wall do: at each time of a schedule, and until the next, the tick is that one, although it is
// looked for backwards.
func TestTicksWhereClocksAreChanged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		zone string
		from string // two weeks from here
	}{
		{"Europe/Berlin", "2026-03-22"}, {"Europe/Berlin", "2026-10-18"},
		{"America/New_York", "2026-03-01"}, {"America/New_York", "2026-10-25"},
		{"America/Sao_Paulo", "2018-10-28"}, {"America/Sao_Paulo", "2018-02-11"}, // at midnight
		{"Australia/Lord_Howe", "2026-09-27"}, {"Australia/Lord_Howe", "2026-03-29"}, // by half an hour
		{"UTC", "2026-02-22"},
	} {
		for _, spec := range []string{"30 2 * * *", "30 1 * * *", "0 0 * * *", "0 * * * *", "*/15 * * * *", "10 1-3 * * 0", "0 3 1 * *", "30 23 * * *"} {
			if tt.zone == "Australia/Lord_Howe" && spec == "0 0 * * *" {
				continue // cron itself leaves out a day there
			}
			t.Run(tt.zone+" "+tt.from+" "+spec, func(t *testing.T) {
				t.Parallel()
				zone, err := time.LoadLocation(tt.zone)
				if err != nil {
					t.Fatal(err)
				}
				schedule, err := cron.ParseStandard(spec)
				if err != nil {
					t.Fatal(err)
				}
				from, err := time.ParseInLocation(time.DateOnly, tt.from, zone)
				if err != nil {
					t.Fatal(err)
				}
				at := schedule.Next(from)
				for until := from.AddDate(0, 0, 14); at.Before(until); {
					next := schedule.Next(at) // as cron does
					gap := next.Sub(at)
					for _, late := range []time.Duration{0, time.Millisecond, gap / 3, gap - 2*time.Second} {
						got, following := tick.Of(schedule.Next, at.Add(late))
						if !got.Equal(at) || !following.Equal(next) {
							t.Errorf("%v after %v: %v, then %v; want then %v", late, at, got, following, next)
						}
					}
					at = next
				}
			})
		}
	}
}
