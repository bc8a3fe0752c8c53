// Cluster shows a piece of work being done by one of many processes. It is a demonstration: all of them run on this
// machine, and the work is a pause that ends well by chance.
//
//	go run ./examples/cluster
//	go run ./examples/cluster -workers 8 -success 0.5 -redis redis://localhost:6379
//	go run ./examples/cluster -kill 2 -svg run.svg
//
// The program starts itself once for each worker. All workers try to acquire the lock of one job; one of them gets it and
// works. If it fails, another one takes over, until the work is done or the attempts are used up. To see more, kill a
// process that works (-kill, or the id in its line "acquired lock"), stop it for a while (kill -STOP, then -CONT), or press
// Ctrl-C: the attempt is then given back, and nothing but the job's record stays in Redis, until it is forgotten after
// a minute or two lock timeouts. With -svg the run is drawn, one lane for each process.
//
// Without -redis and REDIS_URL it starts a server of its own, in this process. The last line is a summary for scripts:
//
//	summary: outcome=completed attempts=4 executions=4 winner=5 workers=8 handover=2ms handover_max=3ms elapsed=412ms redis=embedded
//
//	outcome       completed, exhausted, interrupted or broken
//	attempts      as counted in Redis; those given back do not count
//	executions    how many times one of these workers began to work
//	winner        the worker that completed the work; 0 if it was none of these
//	handover      median time from a failure to the next grant, handover_max the longest; 0ms if there was none
//	redis         embedded, or host:port
//
// Exit status: 0 completed, 3 exhausted, 1 interrupted or broken, 2 wrong flags. (go run makes 1 of all but 0.)
package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/lockingworker/lockingworker/status"
)

// workerVariable says, in the environment of a worker, which one it is.
const workerVariable = "LOCKINGWORKER_CLUSTER_WORKER"

// settings are what the flags say. The workers get the same flags as their parent.
type settings struct {
	workers     int
	success     float64
	lockTimeout time.Duration
	maxAttempts int
	retryDelay  time.Duration
	status      status.Level
	redis       string
	key         string
	seed        uint64
	work        time.Duration
	kill        int
	svg         string
}

func main() {
	flags, set := newFlags()
	if err := flags.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	if number, err := strconv.Atoi(os.Getenv(workerVariable)); err == nil {
		os.Exit(runWorker(number, *set))
	}
	if err := set.check(flags.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	}
	draw(flags)
	os.Exit(runCluster(flags, *set))
}

// showSeed is a seed with which two attempts fail and the third succeeds, so that a first run shows both.
const showSeed = 4

func newFlags() (*flag.FlagSet, *settings) {
	set := &settings{status: status.Verbose}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.IntVar(&set.workers, "workers", max(runtime.NumCPU(), 2), "how many `processes` to start")
	flags.Float64Var(&set.success, "success", 0.15, "`chance` that an attempt succeeds, from 0 to 1")
	flags.DurationVar(&set.lockTimeout, "lock-timeout", 5*time.Second, "how long after its worker's death a lock is kept")
	flags.IntVar(&set.maxAttempts, "max-attempts", 5, "how many `attempts` all workers have together")
	flags.DurationVar(&set.retryDelay, "retry-delay", 0, "pause after a failed attempt")
	flags.Var(&set.status, "status", "which status messages to show: silent, normal or verbose")
	flags.StringVar(&set.redis, "redis", os.Getenv("REDIS_URL"), "`URL` of a Redis; without it, and without REDIS_URL, one is started")
	flags.StringVar(&set.key, "key", "", "`name` of the job; a new one if it is empty")
	flags.Uint64Var(&set.seed, "seed", showSeed, "which attempts succeed follows from this `number`; 0: a new one")
	flags.DurationVar(&set.work, "work", 50*time.Millisecond, "how long an attempt works")
	flags.IntVar(&set.kill, "kill", 0, "kill the process that makes this `attempt`, halfway through its work; 0: none")
	flags.StringVar(&set.svg, "svg", "", "`file` to draw the run into")
	flags.Lookup("redis").DefValue = "" // the help shows no password
	return flags, set
}

// draw sets what is drawn once for all workers, as if it had been given.
func draw(flags *flag.FlagSet) {
	drawn := map[string]string{
		"key": "cluster-" + rand.Text()[:8],
	}
	flags.Visit(func(f *flag.Flag) {
		if f.Value.String() != "" {
			delete(drawn, f.Name)
		}
	})
	if f := flags.Lookup("seed"); f.Value.String() == "0" {
		drawn["seed"] = strconv.FormatUint(mathrand.Uint64(), 10)
	}
	for name, value := range drawn {
		_ = flags.Set(name, value) // never fails: these are values of their types
	}
}

// check returns all that is wrong with the flags and that no worker would tell.
func (set settings) check(rest []string) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", rest[0]))
	}
	if set.workers < 1 {
		errs = append(errs, fmt.Errorf("-workers %d: want at least 1", set.workers))
	}
	if set.kill < 0 {
		errs = append(errs, fmt.Errorf("-kill %d: want an attempt, or 0", set.kill))
	}
	if !(set.success >= 0 && set.success <= 1) {
		errs = append(errs, fmt.Errorf("-success %v: want 0 to 1", set.success))
	}
	return errors.Join(errs...)
}
