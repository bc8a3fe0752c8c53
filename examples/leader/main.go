// Leader shows a service of several replicas, one of which leads: it alone does what must not be done twice at a time. It
// leads for as long as it keeps a lease; when that is over, whyever, it stops, and another one leads.
//
//	go run ./examples/leader
//	go run ./examples/leader -scenes kill -lease 10s -redis redis://localhost:6379
//	go run ./examples/leader -scenes ""     # plays nothing: kill, stop and continue the leader yourself, until Ctrl-C
//
// The program starts itself once for each replica, and has this happen to whoever leads, one after another:
//
//	terminate   SIGTERM, as in a rolling restart: it steps down, and another leads at once
//	kill        SIGKILL: another leads when the lease has run out, not sooner
//	pause       it stands still for longer than its lease: another leads meanwhile, and when it runs on it steps down
//
// What a replica does is in replica.go, to be copied. A lease cannot stop a leader that stands still between looking at it
// and writing: so each write has the lease's fence, and what is written to (here the parent) refuses a smaller one than it
// has seen. The last line is a summary for scripts:
//
//	summary: outcome=completed replicas=3 leaders=4 writes=4 refused=0 terminate=14ms kill=1.8945s pause=1.9384s elapsed=4.2232s redis=embedded
//
//	outcome     completed, interrupted or broken; where nothing is played, Ctrl-C completes it
//	leaders     how many times one began to lead
//	writes      that were accepted; refused are those with a fence that was too small
//	terminate   from that scene's beginning to the next leader; so kill, and pause; 0s if it was not played
//	redis       embedded, or host:port
//
// Exit status: 0 completed, 1 interrupted or broken, 2 wrong flags. (go run makes 1 of all but 0.)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

// settings are what the flags say.
type settings struct {
	replicas int
	lease    time.Duration
	every    time.Duration
	scenes   []string
	redis    *string
}

// scenes are what can happen to a leader, in the order in which they are played.
var scenes = []string{"terminate", "kill", "pause"}

func main() {
	var r replica
	if demo.IsChild(&r) {
		os.Exit(r.main())
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
	flags := flag.NewFlagSet("leader", flag.ContinueOnError)
	flags.IntVar(&set.replicas, "replicas", 3, "how many `processes` to start")
	flags.DurationVar(&set.lease, "lease", 2*time.Second, "how long after its death a leader is still the leader")
	flags.DurationVar(&set.every, "every", 50*time.Millisecond, "how often the leader writes")
	list := flags.String("scenes", strings.Join(scenes, ","), "what happens, by `names` with commas; none: until Ctrl-C, nothing")
	set.redis = demo.RedisFlag(flags)
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", flags.Arg(0)))
	}
	if set.replicas < 2 {
		errs = append(errs, fmt.Errorf("-replicas %d: want at least 2", set.replicas))
	}
	if set.lease < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("-lease %v: want at least 10ms", set.lease))
	}
	if set.every <= 0 {
		errs = append(errs, fmt.Errorf("-every %v: want more than 0", set.every))
	}
	if *list != "" {
		set.scenes = strings.Split(*list, ",")
	}
	for _, scene := range set.scenes {
		if !slices.Contains(scenes, scene) {
			errs = append(errs, fmt.Errorf("-scenes %q: there are %s", scene, strings.Join(scenes, ", ")))
		}
	}
	if err = errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "leader:", err)
	}
	return set, err
}
