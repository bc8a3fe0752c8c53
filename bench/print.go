package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

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
			if err := t.Flush(); err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%s. %s\n", last, titleOf(last))
			fmt.Fprintln(t, "size\tmetric\tcontender\tmedian\tlowest\thighest\tunit\tours : it")
		}
		ratio := ""
		if base := r.median(m.Scenario, m.Size, m.Metric, nameOurs); m.Contender != nameOurs && !math.IsNaN(base) && m.Median != 0 {
			ratio = number(base / m.Median)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", sizeText(m.Size), m.Metric, m.Contender,
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
	if err := t.Flush(); err != nil {
		return err
	}
	for _, failed := range r.Failed {
		fmt.Fprintln(w, failed)
	}
	return nil
}

func titleOf(scenario string) string {
	for _, s := range scenarios {
		if s.id == scenario {
			return s.title
		}
	}
	return ""
}

// number prints whole numbers as they are, and of others three digits or all that stand before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v):
		return plainNumber(v)
	case a >= 99.95:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// plainNumber prints all digits.
func plainNumber(v float64) string { return thousands(strconv.FormatFloat(v, 'f', -1, 64)) }

// thousands puts commas into a number.
func thousands(digits string) string {
	whole, rest, _ := strings.Cut(digits, ".")
	first := 0
	if strings.HasPrefix(whole, "-") {
		first = 1
	}
	for i := len(whole) - 3; i > first; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}

// sizeText is a size as people write it.
func sizeText(size string) string {
	if _, err := strconv.Atoi(size); err != nil {
		return size
	}
	return thousands(size)
}
