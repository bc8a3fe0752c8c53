package workerprom_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// families returns the metrics by name, with the names of their labels.
func families(t *testing.T) map[string]family {
	t.Helper()
	w := newWorld(t)
	w.worker(w.locker(lock.Config{}), worker.Config{}, "reports")
	all := map[string]family{}
	for _, f := range w.gather() {
		x := family{kind: f.GetType(), values: map[string]bool{}}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				x.values[l.GetName()+"="+l.GetValue()] = true
			}
		}
		for _, l := range f.GetMetric()[0].GetLabel() {
			x.labels = append(x.labels, l.GetName())
		}
		all[f.GetName()] = x
	}
	return all
}

type family struct {
	kind   dto.MetricType
	labels []string
	values map[string]bool // label=value
}

var (
	metric = regexp.MustCompile(`(\w+\()?(lockingworker_[a-z_]+)(?:\{([^}]*)\})?(\[[^\]]*\])?`)
	ofKind = regexp.MustCompile(`_(bucket|sum|count)$`)
	label  = regexp.MustCompile(`(\w+)=~?"([^"]*)"`)
	by     = regexp.MustCompile(`by \(([^)]*)\)`)
)

// uses checks each metric in a query: that it is there, has the labels that it is selected and grouped by, and is looked
// at as its type wants it. It returns their names.
func uses(t *testing.T, query string, all map[string]family) []string {
	t.Helper()
	var names []string
	labels := []string{"job", "instance"} // Prometheus's own
	for _, m := range metric.FindAllStringSubmatch(query, -1) {
		function, name, selectors, interval := strings.TrimSuffix(m[1], "("), m[2], m[3], m[4]
		base := ofKind.ReplaceAllString(name, "")
		f, ok := all[base]
		if !ok {
			t.Errorf("%s is in no collector: %s", name, query)
			continue
		}
		names = append(names, base)
		labels = append(labels, f.labels...)
		switch f.kind {
		case dto.MetricType_HISTOGRAM:
			labels = append(labels, "le")
			if base == name {
				t.Errorf("%s is a histogram: %s", name, query)
			}
			fallthrough
		case dto.MetricType_COUNTER:
			if function != "label_values" && (interval == "" || function != "rate" && function != "increase") {
				t.Errorf("%s is counted up: its rate tells something: %s", name, query)
			}
		default:
			if interval != "" && function != "deriv" {
				t.Errorf("%s is a gauge: %s", name, query)
			}
		}
		for _, l := range label.FindAllStringSubmatch(selectors, -1) {
			if !slices.Contains(labels, l[1]) {
				t.Errorf("%s has no label %s: %s", name, l[1], query)
			}
			for value := range strings.SplitSeq(l[2], "|") {
				if !strings.Contains(value, "$") && !f.values[l[1]+"="+value] {
					t.Errorf("%s has no %s=%s: %s", name, l[1], value, query)
				}
			}
		}
	}
	for _, group := range by.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(group[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				t.Errorf("no label %s: %s", l, query)
			}
		}
	}
	if strings.Count(query, "(") != strings.Count(query, ")") {
		t.Errorf("parentheses: %s", query)
	}
	return names
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct{ Expr, LegendFormat string }
}

func TestDashboardShowsWhatIsCollected(t *testing.T) {
	t.Parallel()
	all := families(t)
	text, err := os.ReadFile("dashboard.json")
	wantErr(t, err, nil)
	var dashboard struct {
		Title      string
		UID        string
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type, Definition string
				Query                  any
			}
		}
	}
	wantErr(t, json.Unmarshal(text, &dashboard), nil)
	variables := map[string]bool{"__rate_interval": true}
	shown := map[string]bool{}
	for _, v := range dashboard.Templating.List {
		variables[v.Name] = true
		if v.Type == "query" {
			uses(t, v.Definition, all)
			if q, ok := v.Query.(map[string]any); !ok || q["query"] != v.Definition {
				t.Errorf("the variable %s asks for %v, and says %s", v.Name, v.Query, v.Definition)
			}
		}
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: the id stands twice, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("panel %q lies on %q, or leaves the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q has the data source %q and %d queries", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, target := range p.Targets {
			for _, name := range uses(t, target.Expr, all) {
				shown[name] = true
			}
			for _, v := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !variables[v[1]] {
					t.Errorf("no variable %s: %s", v[1], target.Expr)
				}
			}
		}
	}
	for name := range all {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

var code = regexp.MustCompile("`([^`\n]*lockingworker_[^`\n]*)`")

// TestOperationsNamesWhatIsCollected: what the page says to alert on.
func TestOperationsNamesWhatIsCollected(t *testing.T) {
	t.Parallel()
	all := families(t)
	page, err := os.ReadFile("../../docs/operations.md")
	wantErr(t, err, nil)
	_, section, _ := strings.Cut(string(page), "## What to alert on")
	section, _, _ = strings.Cut(section, "\n## ")
	n := 0
	for _, query := range code.FindAllStringSubmatch(section, -1) {
		n += len(uses(t, strings.ReplaceAll(query[1], `\|`, "|"), all)) // as a table has it
	}
	if n < 5 {
		t.Errorf("docs/operations.md names %d metrics", n)
	}
}
