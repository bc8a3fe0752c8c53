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
		from string // four days from here
	}{
		{"Europe/Berlin", "2026-03-27"}, {"Europe/Berlin", "2026-10-23"},
		{"America/New_York", "2026-03-06"}, {"America/New_York", "2026-10-30"},
		{"America/Sao_Paulo", "2018-11-02"}, {"America/Sao_Paulo", "2018-02-16"}, // at midnight
		{"Australia/Lord_Howe", "2026-10-02"}, {"Australia/Lord_Howe", "2026-04-03"}, // by half an hour
		{"UTC", "2026-02-22"},
	} {
		for _, spec := range []string{"30 2 * * *", "30 1 * * *", "0 0 * * *", "0 * * * *", "*/15 * * * *", "10 1-3 * * 0", "30 23 * * *"} {
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
				if at.After(from.AddDate(0, 0, 4)) {
					t.Fatal("no tick")
				}
				for until := from.AddDate(0, 0, 4); at.Before(until); {
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
