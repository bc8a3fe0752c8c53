package main

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"num": number}).Parse(pageText))

// notes says by hand what the numbers alone would not, as why targets are missed.
//
//go:embed notes.md
var notes string

// A pageData is what the page's template is given.
type pageData struct {
	*report
	Contenders     []contenderText
	PictureAlt     string
	TargetsSummary string
	Sections       []section
}

// A contenderText says how a contender is used.
type contenderText struct{ Name, Version, Used string }

// A section is what the page says of a scenario.
type section struct {
	ID, Title, About, Table string
	Missed                  string // targets
	Note                    string // what is to be known of the numbers, and why targets are missed
}

// markdown returns the whole page.
func (r *report) markdown() (string, error) {
	data := pageData{report: r, PictureAlt: pictureTitle, TargetsSummary: r.targetsSummary()}
	for _, l := range libraries {
		if !slices.ContainsFunc(r.Measures, func(m *measure) bool { return m.Contender == l.name }) {
			continue
		}
		version := "this repository"
		if l.module != "" {
			version = fmt.Sprintf("`%s` %s", l.module, r.version(l.module))
		}
		data.Contenders = append(data.Contenders, contenderText{l.name, version, l.used})
	}
	for _, s := range scenarios {
		if table := r.table(s.id); table != "" {
			missed, why := r.missed(s.id), note(s.id)
			if len(missed) > 0 && why == "" {
				why = "The reason is not written down yet."
			}
			data.Sections = append(data.Sections, section{s.id, s.title, s.about, table, strings.Join(missed, "; "), why})
		}
	}
	var out strings.Builder
	err := page.Execute(&out, data)
	return out.String(), err
}

func (r *report) targetsSummary() string {
	met := 0
	for _, t := range r.Targets {
		if t.Met {
			met++
		}
	}
	switch {
	case len(r.Targets) == 0:
		return "None was measured."
	case met == len(r.Targets):
		return fmt.Sprintf("All %d are met.", met)
	default:
		return fmt.Sprintf("%d of %d are met; why the others are not is said with their scenario.", met, len(r.Targets))
	}
}

// missed returns the targets of a scenario that were.
func (r *report) missed(scenario string) []string {
	var out []string
	for _, t := range r.Targets {
		if t.Scenario == scenario && !t.Met {
			out = append(out, fmt.Sprintf("%s (must %s, is %s)", t.What, t.Must, number(t.Is)))
		}
	}
	return out
}

// note returns what notes.md says about a scenario; mostly nothing.
func note(scenario string) string {
	_, text, found := strings.Cut(notes, "\n## "+scenario+"\n")
	if !found {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return strings.TrimSpace(text)
}

// table returns the measures of a scenario: a row for each metric and size, a column for each contender; nothing if none was
// taken.
func (r *report) table(scenario string) string {
	type row struct{ size, metric, unit string }
	var rows []row
	var names []string
	for _, m := range r.ordered() {
		if m.Scenario != scenario {
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
		return ""
	}
	sized := slices.ContainsFunc(rows, func(k row) bool { return k.size != "" })
	slices.SortFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	var out strings.Builder
	line := func(cells []string) {
		if !sized {
			cells = cells[1:]
		}
		out.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	line(slices.Concat([]string{"size", ""}, names, []string{"our rounds"}))
	line(slices.Concat([]string{"---:", "---"}, slices.Repeat([]string{"---:"}, len(names)+1)))
	for _, k := range rows {
		cells := []string{sizeText(k.size), strings.TrimSuffix(k.metric+", "+k.unit, ", ")}
		for _, name := range names {
			cells = append(cells, r.cell(scenario, k.size, k.metric, name))
		}
		line(append(cells, r.extent(scenario, k.size, k.metric)))
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// cell returns a median, and in brackets how ours compares.
func (r *report) cell(scenario, size, metric, contender string) string {
	v := r.median(scenario, size, metric, contender)
	if math.IsNaN(v) {
		return ""
	}
	if contender == nameOurs {
		return "**" + number(v) + "**"
	}
	ratio := r.ratio(scenario, size, metric, contender)
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return number(v)
	}
	return fmt.Sprintf("%s (%s)", number(v), number(ratio))
}

// extent returns our lowest and highest round.
func (r *report) extent(scenario, size, metric string) string {
	m := r.find(scenario, size, metric, nameOurs)
	if m == nil {
		return ""
	}
	low, high := number(slices.Min(m.Rounds)), number(slices.Max(m.Rounds))
	if low == high {
		return low
	}
	return low + " – " + high
}
