package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A report is all that was measured in one run.
type report struct {
	Date     time.Time  `json:"date"`
	Machine  machine    `json:"machine"`
	Go       string     `json:"go"`
	Redis    string     `json:"redis"`
	Modules  []module   `json:"modules"` // the contenders', and their clients'
	Rounds   int        `json:"rounds"`
	Quick    bool       `json:"quick"`
	Measures []*measure `json:"measures"`
	Targets  []target   `json:"targets"`
	Broken   []string   `json:"broken,omitempty"` // what must never be, however fast
	Failed   []string   `json:"failed,omitempty"` // rounds that another contender did not finish; they are missing above
	Later    []later    `json:"later,omitempty"`  // what was measured again
}

// A later run has replaced the results of some scenarios.
type later struct {
	Date      time.Time `json:"date"`
	Scenarios []string  `json:"scenarios"`
}

// A machine is what servers and clients ran on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Kernel string `json:"kernel,omitempty"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s", m.CPU, m.Cores, strings.TrimSpace(m.OS+" "+m.Kernel))
}

// A module is the version of a Go module.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
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
		Machine: thisMachine(),
		Go:      runtime.Version(),
		Modules: modules(),
		Rounds:  o.rounds,
		Quick:   o.quick,
	}
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if model, found := strings.CutPrefix(line, "model name"); found {
				m.CPU = strings.TrimSpace(strings.TrimLeft(model, "\t :"))
				break
			}
		}
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(kernel))
	}
	return m
}

// modules returns the versions that are linked in, as far as the program knows them.
func modules() []module {
	info, known := debug.ReadBuildInfo()
	if !known {
		return nil
	}
	var out []module
	for _, l := range libraries {
		i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == l.module })
		if i >= 0 && !slices.ContainsFunc(out, func(m module) bool { return m.Path == l.module }) {
			out = append(out, module{l.module, info.Deps[i].Version})
		}
	}
	return out
}

// version returns the version of a module, or nothing.
func (r *report) version(path string) string {
	for _, m := range r.Modules {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}

// add notes the value of one round.
func (r *report) add(scenario, size, metric, unit, contender string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return // nothing was counted, and JSON has no word for it
	}
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

// failsf notes a round that another contender did not finish.
func (r *report) failsf(scenario, format string, args ...any) {
	r.Failed = append(r.Failed, "scenario "+scenario+": "+fmt.Sprintf(format, args...))
}

func (r *report) broken() error {
	if len(r.Broken) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Broken, "\n"))
}

// replace takes over what a later run has measured of these scenarios; what the page says of the run must hold for both.
func (r *report) replace(by *report, ids []string) error {
	if r.Machine != by.Machine || r.Go != by.Go || r.Redis != by.Redis || r.Rounds != by.Rounds || r.Quick != by.Quick ||
		!slices.Equal(r.Modules, by.Modules) {
		return errors.New("measured on another machine, with other versions or another number of rounds than -from")
	}
	again := func(id string) bool { return slices.Contains(ids, id) }
	gone := func(line string) bool { // as breaksf and failsf write it
		return slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(line, "scenario "+id+": ") })
	}
	r.Measures = append(slices.DeleteFunc(r.Measures, func(m *measure) bool { return again(m.Scenario) }), by.Measures...)
	r.Targets = append(slices.DeleteFunc(r.Targets, func(t target) bool { return again(t.Scenario) }), by.Targets...)
	r.Broken = append(slices.DeleteFunc(r.Broken, gone), by.Broken...)
	r.Failed = append(slices.DeleteFunc(r.Failed, gone), by.Failed...)
	for i := range r.Later {
		r.Later[i].Scenarios = slices.DeleteFunc(r.Later[i].Scenarios, again)
	}
	r.Later = slices.DeleteFunc(r.Later, func(l later) bool { return len(l.Scenarios) == 0 })
	r.Later = append(r.Later, later{by.Date, ids})
	place := func(id string) int { return slices.IndexFunc(scenarios, func(s scenario) bool { return s.id == id }) }
	slices.SortStableFunc(r.Measures, func(a, b *measure) int { return place(a.Scenario) - place(b.Scenario) })
	slices.SortStableFunc(r.Targets, func(a, b target) int { return place(a.Scenario) - place(b.Scenario) })
	return nil
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

func (t target) verdict() string {
	if t.Met {
		return "met"
	}
	return "missed"
}

// writeJSON writes the report in the form that the package's documentation tells.
func (r *report) writeJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return save(path, append(data, '\n'))
}

// readReport reads what writeJSON has written.
func readReport(path string) (*report, error) {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func save(path string, data []byte) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
