package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is all that was measured in one run.
type report struct {
	Date     time.Time  `json:"date"`
	Machine  string     `json:"machine"`
	Go       string     `json:"go"`
	Redis    string     `json:"redis"`
	Rounds   int        `json:"rounds"`
	Quick    bool       `json:"quick"`
	Measures []*measure `json:"measures"`
	Targets  []target   `json:"targets"`
	Broken   []string   `json:"broken,omitempty"` // what must never be, however fast
}

// A measure is one number of one contender, once per round.
type measure struct {
	Scenario  string    `json:"scenario"`
	Size      string    `json:"size,omitempty"`
	Metric    string    `json:"metric"`
	Unit      string    `json:"unit,omitempty"`
	Contender string    `json:"contender"`
	Rounds    []float64 `json:"rounds"`
	Median    float64   `json:"median"`
}

// A target is what this module wants to reach.
type target struct {
	Scenario string  `json:"scenario"`
	What     string  `json:"what"`
	Must     string  `json:"must"`
	Is       float64 `json:"is"`
	Met      bool    `json:"met"`
}

func newReport(o options) *report {
	return &report{
		Date:    time.Now().UTC().Truncate(time.Second),
		Machine: machine(),
		Go:      runtime.Version(),
		Rounds:  o.rounds,
		Quick:   o.quick,
	}
}

// machine describes what this runs on.
func machine() string {
	name := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if model, found := strings.CutPrefix(line, "model name"); found {
				name = strings.TrimSpace(strings.TrimLeft(model, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s", name, runtime.NumCPU(), runtime.GOOS)
}

// add notes the value of one round.
func (r *report) add(scenario, size, metric, unit, contender string, value float64) {
	m := r.find(scenario, size, metric, contender)
	if m == nil {
		m = &measure{Scenario: scenario, Size: size, Metric: metric, Unit: unit, Contender: contender}
		r.Measures = append(r.Measures, m)
	}
	m.Rounds = append(m.Rounds, value)
	m.Median = median(m.Rounds)
}

func (r *report) find(scenario, size, metric, contender string) *measure {
	for _, m := range r.Measures {
		if m.Scenario == scenario && m.Size == size && m.Metric == metric && m.Contender == contender {
			return m
		}
	}
	return nil
}

// median returns the median of a measure, or NaN if it was not taken.
func (r *report) median(scenario, size, metric, contender string) float64 {
	if m := r.find(scenario, size, metric, contender); m != nil {
		return m.Median
	}
	return math.NaN()
}

// most returns the largest round of a measure of ours, or NaN if it was not taken.
func (r *report) most(scenario, size, metric string) float64 {
	if m := r.find(scenario, size, metric, nameOurs); m != nil {
		return slices.Max(m.Rounds)
	}
	return math.NaN()
}

// ratio compares our median to that of another contender.
func (r *report) ratio(scenario, size, metric, to string) float64 {
	return r.median(scenario, size, metric, nameOurs) / r.median(scenario, size, metric, to)
}

// atMost notes a target. One whose measures were not taken is left out.
func (r *report) atMost(scenario, what string, limit, is float64) {
	r.target(scenario, what, fmt.Sprintf("≤ %v", limit), is, is <= limit)
}

// atLeast notes a target.
func (r *report) atLeast(scenario, what string, limit, is float64) {
	r.target(scenario, what, fmt.Sprintf("≥ %v", limit), is, is >= limit)
}

func (r *report) target(scenario, what, must string, is float64, met bool) {
	if !math.IsNaN(is) && !math.IsInf(is, 0) {
		r.Targets = append(r.Targets, target{scenario, what, must, is, met})
	}
}

// breaksf notes what is wrong whatever the numbers are, such as a lost lease.
func (r *report) breaksf(scenario, format string, args ...any) {
	r.Broken = append(r.Broken, "scenario "+scenario+": "+fmt.Sprintf(format, args...))
}

func (r *report) broken() error {
	if len(r.Broken) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Broken, "\n"))
}

// printTo writes a table for each scenario, and one of the targets.
func (r *report) printTo(w io.Writer) error {
	fmt.Fprintf(w, "%s; %s; redis-server %s; %s; medians of %d rounds\n", r.Date.Format(time.DateOnly), r.Machine, r.Redis, r.Go, r.Rounds)
	if r.Quick {
		fmt.Fprintln(w, "quick: too short to mean anything")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	last := ""
	for _, m := range r.ordered() {
		if m.Scenario != last {
			last = m.Scenario
			i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.id == last })
			if err := t.Flush(); err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%s. %s\n", last, scenarios[i].title)
			fmt.Fprintln(t, "size\tmetric\tcontender\tmedian\tlowest\thighest\tunit\tours : it")
		}
		ratio := ""
		if base := r.median(m.Scenario, m.Size, m.Metric, nameOurs); m.Contender != nameOurs && !math.IsNaN(base) && m.Median != 0 {
			ratio = number(base / m.Median)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Size, m.Metric, m.Contender,
			number(m.Median), number(slices.Min(m.Rounds)), number(slices.Max(m.Rounds)), m.Unit, ratio)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Targets) > 0 {
		fmt.Fprintln(w, "\nTargets")
		fmt.Fprintln(t, "scenario\twhat\tmust\tis\t")
		for _, g := range r.Targets {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", g.Scenario, g.What, g.Must, number(g.Is), g.verdict())
		}
	}
	return t.Flush()
}

// ordered returns the measures as they were taken, those of one size and metric together, in the order of the libraries.
func (r *report) ordered() []*measure {
	type row struct{ scenario, size, metric string }
	place := make(map[row]int)
	for i, m := range r.Measures {
		k := row{m.Scenario, m.Size, m.Metric}
		if _, known := place[k]; !known {
			place[k] = i
		}
	}
	out := slices.Clone(r.Measures)
	slices.SortStableFunc(out, func(a, b *measure) int {
		if d := place[row{a.Scenario, a.Size, a.Metric}] - place[row{b.Scenario, b.Size, b.Metric}]; d != 0 {
			return d
		}
		return rank(a.Contender) - rank(b.Contender)
	})
	return out
}

func rank(contender string) int {
	return slices.IndexFunc(libraries, func(l library) bool { return l.name == contender })
}

// number prints three digits, or all that stand before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func (t target) verdict() string {
	if t.Met {
		return "met"
	}
	return "missed"
}

func (r *report) writeJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}
