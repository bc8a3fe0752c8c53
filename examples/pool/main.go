// Pool shows many jobs being done by many processes: each of them is given all of the jobs, and each job is done once.
//
//	go run -C examples/pool .
//	go run -C examples/pool . -kill 3 -jobs 50000 -redis redis://localhost:6379
//
// It is a module of its own, for the progress bar's sake. The program starts itself once for each process, and each calls
// worker.RunAll with the same sequence of jobs (member.go, to be copied). The work is a pause and a line to the parent, which
// writes down who did what, as a database would, and at last counts it and compares it with the record in Redis.
//
// With -kill some of the processes are killed on the way (SIGKILL). What they had at hand is done by the others, when the
// leases have run out; what they had done and could not record any more is done again. So repeated may be more than 0 then,
// but not by much, and only after who was killed. (Or where Redis is so slow that a process cannot record its work within
// the lease; then it says so.)
//
// The records stay in Redis for an hour. The last line is a summary for scripts:
//
//	summary: outcome=completed jobs=10000 once=10000 repeated=0 missing=0 processes=16 killed=0 elapsed=1.9s redis=embedded
//
//	outcome    completed, interrupted, or broken: not every job was done, or one was repeated without such a reason
//	once       jobs that were done by one process, one time; repeated are those that were done again; missing were never done
//	redis      embedded, or host:port
//
// Exit status: 0 completed, 1 interrupted or broken, 2 wrong flags. (go run makes 1 of all but 0.)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/worker"
)

// settings are what the flags say.
type settings struct {
	processes   int
	jobs        int
	kill        int
	concurrency int
	work        time.Duration
	lease       time.Duration
	redis       *string
}

func main() {
	var m member
	if demo.IsChild(&m) {
		os.Exit(m.main())
	}
	set, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	os.Exit(run(set))
}

// parse says on standard error what is wrong.
func parse(args []string) (set settings, err error) {
	flags := flag.NewFlagSet("pool", flag.ContinueOnError)
	flags.IntVar(&set.processes, "processes", 16, "how many `processes` to start")
	flags.IntVar(&set.jobs, "jobs", 10_000, "how many `jobs` there are")
	flags.IntVar(&set.kill, "kill", 0, "how many `processes` to kill on the way")
	flags.IntVar(&set.concurrency, "concurrency", worker.DefaultConcurrency, "how many `jobs` a process works on at a time")
	flags.DurationVar(&set.work, "work", 10*time.Millisecond, "how long a job takes")
	flags.DurationVar(&set.lease, "lease", worker.DefaultTTL, "how long after its death a process has its jobs")
	set.redis = demo.RedisFlag(flags)
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", flags.Arg(0)))
	}
	if set.processes < 1 {
		errs = append(errs, fmt.Errorf("-processes %d: want at least 1", set.processes))
	}
	if set.jobs < 1 {
		errs = append(errs, fmt.Errorf("-jobs %d: want at least 1", set.jobs))
	}
	if set.kill < 0 || set.kill >= max(set.processes, 1) {
		errs = append(errs, fmt.Errorf("-kill %d: want 0 or more, and one process to be left", set.kill))
	}
	if err = errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "pool:", err)
	}
	return set, err
}
