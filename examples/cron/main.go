// Cron shows processes with the same schedule, of which one runs each tick. It is a demonstration: all of them run on this
// machine, and the work is a moment that now and then ends badly.
//
//	go run -C examples/cron .
//	go run -C examples/cron . -scheduler cron -processes 5 -redis redis://localhost:6379
//
// Each process has a scheduler of its own, of gocron or of robfig/cron. At each tick all come, one of them works, and the
// others wait until it has succeeded: if it fails, the next one tries. It ends when all processes have come to the last of so
// many ticks, and then counts how often each of these was done.
//
// Without -redis and REDIS_URL it starts a server of its own, in this process. The last line is a summary for scripts:
//
//	summary: scheduler=gocron processes=3 ticks=10 runs=10 attempts=13 elapsed=5.8s redis=embedded
//
//	ticks         how many were counted
//	runs          how many times one of them was done
//	attempts      how many times a process began to work for one of them
//
// Exit status 0 when each tick was done once, 1 otherwise.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

// settings are what the flags say.
type settings struct {
	scheduler string
	processes int
	ticks     int
	period    time.Duration
	success   float64
	redis     *string
}

func main() {
	var me role
	if demo.IsChild(&me) {
		os.Exit(me.run())
	}
	flags, set := newFlags()
	if err := flags.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	if err := set.check(flags.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(2)
	}
	sum, err := set.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
	fmt.Println(sum)
	if !sum.once {
		os.Exit(1)
	}
}

func newFlags() (*flag.FlagSet, *settings) {
	set := &settings{}
	flags := flag.NewFlagSet("cron", flag.ContinueOnError)
	flags.StringVar(&set.scheduler, "scheduler", "gocron", "whose schedulers: gocron or cron")
	flags.IntVar(&set.processes, "processes", 3, "how many `processes` to start")
	flags.IntVar(&set.ticks, "ticks", 10, "how many `ticks` to count")
	flags.DurationVar(&set.period, "period", 500*time.Millisecond, "from one tick to the next")
	flags.Float64Var(&set.success, "success", 0.75, "`chance` that one of the first two attempts at a tick succeeds; the third does")
	set.redis = demo.RedisFlag(flags)
	return flags, set
}

func (set settings) check(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", rest[0]))
	}
	if _, ok := schedulers[set.scheduler]; !ok {
		errs = append(errs, fmt.Errorf("-scheduler %s: want gocron or cron", set.scheduler))
	}
	if set.processes < 1 {
		errs = append(errs, fmt.Errorf("-processes %d: want at least 1", set.processes))
	}
	if set.ticks < 1 {
		errs = append(errs, fmt.Errorf("-ticks %d: want at least 1", set.ticks))
	}
	if set.period < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("-period %v: want at least 10ms", set.period))
	}
	if !(set.success >= 0 && set.success <= 1) {
		errs = append(errs, fmt.Errorf("-success %v: want 0 to 1", set.success))
	}
	return errors.Join(errs...)
}
