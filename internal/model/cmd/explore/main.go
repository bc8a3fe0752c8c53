// Command explore visits the states of the model of lock's rules.
//
//	go run ./internal/model/cmd/explore                     all weathers, as far as -limit
//	go run ./internal/model/cmd/explore -weather losses     one of them
//	go run ./internal/model/cmd/explore -rules              what breaks without each rule
//	go run ./internal/model/cmd/explore -rules -traces      and how
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lockingworker/lockingworker/internal/model"
)

func main() {
	limit := flag.Int("limit", 0, "how many states of each weather to visit (about 150 bytes each); 0: all, where that is feasible")
	weather := flag.String("weather", "", "the name of one weather; none: all")
	rules := flag.Bool("rules", false, "switch off one rule after another instead")
	traces := flag.Bool("traces", false, "with -rules: print the traces")
	flag.Parse()
	var ok bool
	if *rules {
		ok = without(os.Stdout, model.AllRules(), *traces)
	} else {
		ok = explore(os.Stdout, *weather, *limit)
	}
	if !ok {
		os.Exit(1)
	}
}

// explore prints a row for each weather, and what was violated. It returns whether
// nothing was.
func explore(out io.Writer, name string, limit int) bool {
	ok, known, states := true, false, 0
	fmt.Fprintf(out, "| weather | states | steps to the farthest | all of them | time |\n| --- | ---: | ---: | --- | ---: |\n")
	for _, w := range model.Weathers() {
		if name != "" && name != w.Name {
			continue
		}
		known = true
		began := time.Now()
		r := w.Explore(limit)
		states += r.States
		all := "no"
		if r.Complete {
			all = "yes"
		}
		fmt.Fprintf(out, "| %s | %d | %d | %s | %.0f s |\n", w.Name, r.States, r.Depth, all, time.Since(began).Seconds())
		if r.Violation != nil {
			ok = false
			fmt.Fprintf(out, "\n%v\n", r.Violation)
		}
	}
	fmt.Fprintf(out, "\n%d states\n", states)
	if !known {
		fmt.Fprintf(out, "there is no weather %q\n", name)
	}
	return ok && known
}

// without prints what breaks without each of these rules. It returns whether
// something does, for each.
func without(out io.Writer, rules []model.Rule, traces bool) bool {
	ok := true
	if !traces {
		fmt.Fprintf(out, "| without | weather | what breaks | after steps |\n| --- | --- | --- | ---: |\n")
	}
	for _, rule := range rules {
		w := model.Breaking(rule)
		v := model.Explore(&w.Config, 0).Violation
		switch {
		case v == nil:
			ok = false
			fmt.Fprintf(out, "| %v | %s | nothing | |\n", rule, w.Name)
		case traces:
			fmt.Fprintf(out, "without %v, weather %q: %v\n", rule, w.Name, v)
		default:
			fmt.Fprintf(out, "| %v | %s | %s | %d |\n", rule, w.Name, v.Property, len(v.Trace))
		}
	}
	return ok
}
