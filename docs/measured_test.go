package docs_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// measure is one of docs/benchmarks.json.
type measure struct {
	Scenario, Size, Metric, Contender string
	Median                            float64
}

// measured are the rows of the README's table that tell numbers.
var measured = []struct {
	row, unit              string
	scenario, size, metric string
}{
	{"lock + unlock, alone", " µs", "2", "", "lock + unlock p50"},
	{"lock + unlock, 128 goroutines", "/s", "3", "128", "lock + unlock"},
	{"lock + unlock, collections of 1,000", "/s", "1", "1000", "resources"},
	{"commands for a hand-over, 1,000 wait", "", "4", "1000", "commands per grant"},
}

// contenders are those of the table's columns that were measured, in their order. Of two ways to use one of them the faster
// counts.
var contenders = [][]string{{"ours"}, {"redsync"}, {"redislock"}, {"rueidislock", "rueidislock, delayed"}}

// TestREADMETellsWhatWasMeasured: the table's numbers are those of docs/benchmarks.json. go test ./docs -update writes them anew.
func TestREADMETellsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	var results struct{ Measures []measure }
	if err := json.Unmarshal([]byte(read(t, "docs/benchmarks.json")), &results); err != nil {
		t.Fatal(err)
	}
	readme := read(t, "README.md")
	for _, m := range measured {
		want := "| " + m.row + " |"
		for _, names := range contenders {
			best := 0.0
			for _, r := range results.Measures {
				if r.Scenario == m.scenario && r.Size == m.size && r.Metric == m.metric && slices.Contains(names, r.Contender) {
					if best == 0 || m.unit == "/s" && r.Median > best {
						best = r.Median
					}
				}
			}
			if best == 0 {
				t.Errorf("docs/benchmarks.json does not tell %q of %s", m.row, names)
			}
			want += " " + rounded(best) + m.unit + " |"
		}
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(m.row) + ` \|.*$`)
		switch got := row.FindString(readme); {
		case *update:
			readme = row.ReplaceAllLiteralString(readme, want+" | |")
			write(t, filepath.Join(root, "README.md"), []byte(readme))
		case !strings.HasPrefix(got, want):
			t.Errorf("README.md tells\n%s and measured was\n%s", got, want)
		}
	}
}

// rounded writes two digits that mean something, and a comma for the thousands.
func rounded(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	digits := strconv.FormatFloat(math.Round(x/unit)*unit, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
