// Command bench measures this module's package lock beside the libraries that a Go programmer might pick instead, on a
// redis-server of its own.
//
// It does not tell what a network costs, nor a server that others use: server and clients run on one machine and share
// its cores, so only the ratios between contenders of one run mean something. All contenders are measured in turns, round
// by round, and what is printed is the median of the rounds.
//
//	go run .                                     # all that there is, five rounds, about an hour
//	go run . -quick                              # shows within two minutes that everything works
//	go run . -scenario 1,3 -contender ours,redsync -rounds 3
//	go run . -json results.json -markdown page.md -svg picture.svg
//	go run . -from results.json -markdown page.md   # measures nothing
//	go run . -from results.json -scenario 11 -json results.json   # measures one scenario again
//
// The servers listen on free ports of loopback, keep nothing, and end with the program. A missed target is told and is no
// error. The exit status is 1 if something happened that must never happen, however slow the machine is: a lost lease, a
// waiter that is stuck, a missed event.
//
// # JSON
//
// What -json writes, -from reads. Fields are added and never change their meaning:
//
//	date      when the run began, RFC 3339, UTC
//	machine   cpu, cores, os, kernel
//	go        version of Go
//	redis     version of redis-server
//	modules   list of path and version: the contenders' modules
//	rounds    how many rounds were asked for
//	quick     true if -quick was given
//	measures  list, in the order in which they were taken:
//	    scenario   number of the scenario, as text
//	    size       how many resources, goroutines, lockers or leases, as text; absent where there is nothing to count
//	    metric     what was measured
//	    unit       its unit; absent for counts
//	    contender  who
//	    rounds     list of numbers, one for each round that was finished
//	    median     their median
//	targets   list: scenario, what, must (as text), is (a number), met
//	broken    list of texts: what must never be; absent if empty
//	failed    list of texts: rounds that another contender did not finish; absent if empty
//	later     list: date, scenarios; which were measured again in a later run, under the same conditions; absent if none was
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	if spec := os.Getenv(poolVariable); spec != "" {
		os.Exit(runPool(spec))
	}
	var o options
	flag.Func("scenario", "comma-separated numbers of scenarios; default all", list(&o.scenarios))
	flag.Func("contender", "comma-separated names of contenders; default all", list(&o.contenders))
	flag.IntVar(&o.rounds, "rounds", 5, "how often each contender is measured")
	flag.BoolVar(&o.quick, "quick", false, "one short round of everything: shows that it works, measures nothing")
	flag.StringVar(&o.from, "from", "", "take the results from this file, which -json has written, and measure only what -scenario names")
	flag.StringVar(&o.json, "json", "", "write the results to this file too")
	flag.StringVar(&o.markdown, "markdown", "", "write the page with all tables to this file")
	flag.StringVar(&o.svg, "svg", "", "write the picture of cost against size to this file, .svg or .png")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this program to this file")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	if o.quick {
		o.rounds = 1
	}
	if o.rounds < 1 {
		log.Fatal("-rounds must be at least 1")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

// options are the flags.
type options struct {
	scenarios  []string
	contenders []string
	rounds     int
	quick      bool
	json       string
	markdown   string
	svg        string
	profile    string
	from       string
}

func list(into *[]string) func(string) error {
	return func(s string) error {
		*into = strings.Split(s, ",")
		return nil
	}
}

// run measures, or reads what was measured, and reports.
func run(ctx context.Context, o options) error {
	r, err := o.results(ctx)
	if err != nil {
		return err
	}
	if err := r.printTo(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	if o.markdown != "" {
		page, err := r.markdown()
		if err != nil {
			return err
		}
		if err := save(o.markdown, []byte(page)); err != nil {
			return err
		}
	}
	if o.svg != "" {
		if err := r.draw(o.svg); err != nil {
			return err
		}
	}
	if o.from != "" && len(o.scenarios) == 0 {
		return nil // whoever measured has been told
	}
	return r.broken()
}

func (o options) results(ctx context.Context) (*report, error) {
	r := newReport(o)
	if o.from == "" {
		return r, fill(ctx, o, r)
	}
	earlier, err := readReport(o.from)
	if err != nil || len(o.scenarios) == 0 {
		return earlier, err
	}
	if err := fill(ctx, o, r); err != nil {
		return nil, err
	}
	return earlier, earlier.replace(r, o.scenarios)
}

// fill starts the servers and measures.
func fill(ctx context.Context, o options, r *report) (err error) {
	chosen, err := choose(o.scenarios)
	if err != nil {
		return err
	}
	for _, name := range o.contenders {
		if !slices.ContainsFunc(libraries, func(l library) bool { return l.name == name }) {
			return fmt.Errorf("no contender %q", name)
		}
	}
	b := &bench{options: o, report: r}

	// A child dies with the thread that started it, so the servers are started from one that stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if b.server, err = startServer(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if slices.ContainsFunc(chosen, func(s scenario) bool { return s.cluster }) {
		if b.cluster, err = startCluster(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.cluster.stop()) }()
	}
	if b.report.Redis, err = b.server.version(ctx); err != nil {
		return err
	}

	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	done := make(chan error)
	go func() { done <- b.measure(ctx, chosen) }() // a goroutine on a locked thread is slow to wake
	return <-done
}

// choose returns the scenarios with these numbers.
func choose(ids []string) ([]scenario, error) {
	if len(ids) == 0 {
		return scenarios, nil
	}
	var chosen []scenario
	for _, id := range ids {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.id == id })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q", id)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}
