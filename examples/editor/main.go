// Editor shows the locks of an editor for many users: who opens an article has it, others see whose it is, an administrator
// takes it away, and who is not heard of any more loses it. It plays one afternoon of a newsroom and prints what its users
// would see.
//
//	go run ./examples/editor
//	go run ./examples/editor -lease 10s -redis redis://localhost:6379
//
// What a web server does for that is in office.go, to be copied: it has no state but its Locker, so a browser's requests may
// come to any of the servers. Here two of them are played, and the browsers, by one process (story.go). What is shown:
//
//	TryLock     articles are opened as a collection, each on its own; a refused one tells whose it is, and for how long
//	Extend      the browser's heartbeat, for all of its articles in one round trip, at whichever server: the owner counts
//	owner       a tab is an owner. Another tab of the same user is another one: locks are not re-entrant
//	ForceLock   an administrator takes an article over; its holder learns it with the next heartbeat
//	fence       the holder's late save is refused, because the article has seen the administrator's larger fence
//	Watch       the list at the side of the screen follows every server's locks, and shows when one ran out
//
// The last line is a summary for scripts:
//
//	summary: outcome=completed locked=7 refused=4 forced=1 expired=2 saved=3 saves_refused=1 elapsed=2.1s redis=embedded
//
//	outcome   completed, interrupted or broken: something was not as the story has it
//	locked    how many locks were granted, the forced one too; refused is how often somebody was told that it is another's
//	redis     embedded, or host:port
//
// Exit status: 0 completed, 1 interrupted or broken, 2 wrong flags. (go run makes 1 of all but 0.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

func main() {
	flags := flag.NewFlagSet("editor", flag.ContinueOnError)
	lease := flags.Duration("lease", 2*time.Second, "how long after its last heartbeat a tab keeps its articles")
	url := demo.RedisFlag(flags)
	if err := flags.Parse(os.Args[1:]); errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	if err := check(flags.Args(), *lease); err != nil {
		fmt.Fprintln(os.Stderr, "editor:", err)
		os.Exit(2)
	}
	os.Exit(run(*url, *lease))
}

// check returns all that is wrong with the flags.
func check(rest []string, lease time.Duration) error {
	var errs []error
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", rest[0]))
	}
	if lease < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("-lease %v: want at least 10ms", lease))
	}
	return errors.Join(errs...)
}

// run plays the story, and returns the exit status.
func run(url string, lease time.Duration) int {
	ctx, stop := demo.Context()
	defer stop()
	began := time.Now()
	server, err := demo.FindServer(ctx, url)
	if err != nil {
		return fail(err)
	}
	defer server.Close()
	s, err := newStory(ctx, server.URL, lease)
	if err != nil {
		return fail(err)
	}
	defer s.close()
	fmt.Printf("lease %v, redis %s\n", lease, server.Name)
	err = s.play()
	outcome, status := "completed", 0
	switch {
	case ctx.Err() != nil:
		outcome, status = "interrupted", 1
	case err != nil:
		outcome, status = "broken", fail(err)
	}
	fmt.Printf("summary: outcome=%s locked=%d refused=%d forced=%d expired=%d saved=%d saves_refused=%d elapsed=%v redis=%s\n",
		outcome, s.locked, s.refused, s.forced, s.expired, s.archive.saved, s.archive.refused, time.Since(began).Round(time.Millisecond), server.Name)
	return status
}

func fail(err error) int {
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "editor:", err)
	}
	return 1
}
