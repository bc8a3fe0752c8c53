package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// markdown returns the tables of print for a document: one line for each metric and size, one column for each contender.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s; %s; redis-server %s; %s; medians of %d rounds.\n", r.Date.Format(time.DateOnly), r.Machine, r.Redis, r.Go, r.Rounds)
	for _, s := range scenarios {
		r.markdownScenario(&out, s)
	}
	return out.String()
}

func (r *report) markdownScenario(out *strings.Builder, s scenario) {
	type row struct{ size, metric, unit string }
	var rows []row
	var names []string
	for _, m := range r.ordered() {
		if m.Scenario != s.id {
			continue
		}
		if k := (row{m.Size, m.Metric, m.Unit}); !slices.Contains(rows, k) {
			rows = append(rows, k)
		}
		if !slices.Contains(names, m.Contender) {
			names = append(names, m.Contender)
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	fmt.Fprintf(out, "\n### %s. %s\n\n| size | metric | %s |\n| ---: | --- |%s\n", s.id, s.title,
		strings.Join(names, " | "), strings.Repeat(" ---: |", len(names)))
	for _, k := range rows {
		fmt.Fprintf(out, "| %s | %s |", k.size, strings.TrimSuffix(k.metric+", "+k.unit, ", "))
		for _, name := range names {
			cell := ""
			if v := r.median(s.id, k.size, k.metric, name); !math.IsNaN(v) {
				cell = number(v)
			}
			fmt.Fprintf(out, " %s |", cell)
		}
		out.WriteByte('\n')
	}
	targets := slices.DeleteFunc(slices.Clone(r.Targets), func(t target) bool { return t.Scenario != s.id })
	if len(targets) == 0 {
		return
	}
	out.WriteString("\n| target | must | is | |\n| --- | --- | ---: | --- |\n")
	for _, t := range targets {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", t.What, t.Must, number(t.Is), t.verdict())
	}
}
