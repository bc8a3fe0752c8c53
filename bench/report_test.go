package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// example is a report of three rounds that has something of everything.
func example() *report {
	r := &report{
		Date:    time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
		Machine: machine{CPU: "a processor", Cores: 4, OS: "linux", Kernel: "6.1"},
		Go:      "go1.26",
		Redis:   "7.0.15",
		Modules: []module{{moduleRedislock, "v0.9.4"}},
		Rounds:  3,
	}
	for _, v := range []float64{40, 80, 50} {
		r.add("2", "", "lock + unlock p50", "µs", nameRedislock, v)
		r.add("2", "", "lock + unlock p50", "µs", nameOurs, v/2)
	}
	for _, n := range []int{2, 20, 1000} {
		r.add("4", size(n), commandsEach, "", nameOurs, 27)
		r.add("4", size(n), gapP50, "µs", nameOurs, 300.5)
		r.add("4", size(n), commandsEach, "", nameRueidislock, float64(3*n))
		r.add("4", size(n), gapP50, "µs", nameRueidislock, 200)
		r.add("4", size(n), stuck, "lockers", nameOurs, 0)
		r.add("4", size(n), stuck, "lockers", nameRueidislock, 0)
	}
	for _, n := range []int{50_000, 100_000} {
		r.add("7", size(n), bytesEach, "B", nameOurs, 400)
		r.add("7", size(n), clientShare, "% of a core", nameOurs, float64(n)/10_000)
	}
	r.atMost("2", "p50, as a multiple of redislock's", 1.1, r.ratio("2", "", "lock + unlock p50", nameRedislock))
	r.atMost("4", "commands at 1,000", 20, r.median("4", size(1000), commandsEach, nameOurs))
	r.atLeast("9", "not measured", 1, r.ratio("9", "", "resources", nameUnsafe))
	return r
}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := example()
	if len(r.Targets) != 2 {
		t.Fatalf("%d targets, want those 2 that were measured", len(r.Targets))
	}
	if g := r.Targets[0]; !g.Met || g.Is != 0.5 || g.Must != "≤ 1.1" {
		t.Errorf("%+v, want 0.5, met", g)
	}
	if g := r.Targets[1]; g.Met || g.verdict() != "missed" {
		t.Errorf("%+v, want it missed", g)
	}
	if err := r.broken(); err != nil {
		t.Errorf("a missed target is an error: %v", err)
	}
	r.breaksf("7", "%d leases were lost", 3)
	if err := r.broken(); err == nil || err.Error() != "scenario 7: 3 leases were lost" {
		t.Errorf("a lost lease: %v", err)
	}
}

func TestWhatIsNoNumberIsNotNoted(t *testing.T) {
	t.Parallel()
	r := new(report)
	r.add("1", "", "metric", "", nameOurs, math.NaN())
	r.add("1", "", "metric", "", nameOurs, math.Inf(1))
	if len(r.Measures) != 0 {
		t.Errorf("%+v", r.Measures[0])
	}
}

func TestMeasuresAreTogetherWhicheverContenderBegan(t *testing.T) {
	t.Parallel()
	r := new(report)
	for _, m := range []struct{ metric, contender string }{
		{"a", nameRedsync}, {"b", nameRedsync}, {"a", nameOurs}, {"b", nameOurs}, {"a", nameUnsafe},
	} {
		r.add("1", "", m.metric, "", m.contender, 1)
	}
	var got []string
	for _, m := range r.ordered() {
		got = append(got, m.Metric+" "+m.Contender)
	}
	want := "a ours, a unsafe pipeline, a redsync, b ours, b redsync"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

// Whoever reads the JSON relies on these names: add to them, and to the package's documentation.
func TestJSONKeepsItsForm(t *testing.T) {
	t.Parallel()
	r := &report{Modules: []module{{"example.com/m", "v1"}}, Machine: machine{"c", 1, "o", "k"}, Rounds: 2}
	r.add("1", "10", "m", "1/s", "ours", 2)
	r.add("1", "10", "m", "1/s", "ours", 3)
	r.atLeast("1", "w", 2, 2.5)
	r.breaksf("1", "b")
	r.failsf("1", "f")
	file := filepath.Join(t.TempDir(), "r.json")
	if err := r.writeJSON(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"date":"0001-01-01T00:00:00Z","machine":{"cpu":"c","cores":1,"os":"o","kernel":"k"},"go":"","redis":"",` +
		`"modules":[{"path":"example.com/m","version":"v1"}],"rounds":2,"quick":false,` +
		`"measures":[{"scenario":"1","size":"10","metric":"m","unit":"1/s","contender":"ours","rounds":[2,3],"median":2.5}],` +
		`"targets":[{"scenario":"1","what":"w","must":"≥2","is":2.5,"met":true}],"broken":["scenario1:b"],"failed":["scenario1:f"]}`
	if got := strings.Join(strings.Fields(string(data)), ""); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	again, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if again.median("1", "10", "m", "ours") != 2.5 || len(again.Targets) != 1 {
		t.Errorf("what was written is not what is read: %+v", again)
	}
}

func TestScenariosAreMeasuredAgain(t *testing.T) {
	t.Parallel()
	first := func() *report {
		r := &report{Rounds: 2, Go: "go1"}
		for _, id := range []string{"2", "3", "11"} {
			r.add(id, "", "m", "", nameOurs, 1)
			r.atMost(id, "w", 2, 1)
			r.breaksf(id, "b")
			r.failsf(id, "f")
		}
		r.Later = []later{{time.Unix(1, 0).UTC(), []string{"3", "2"}}}
		return r
	}
	again := &report{Rounds: 2, Go: "go1", Date: time.Unix(2, 0).UTC()}
	again.add("3", "", "m", "", nameOurs, 5)
	again.add("3", "", "n", "", nameOurs, 6)
	again.atMost("3", "w", 2, 5)

	r := first()
	if err := r.replace(again, []string{"3"}); err != nil {
		t.Fatal(err)
	}
	var measured, targets []string
	for _, m := range r.Measures {
		measured = append(measured, fmt.Sprint(m.Scenario, m.Metric, m.Median))
	}
	for _, s := range r.Targets {
		targets = append(targets, fmt.Sprint(s.Scenario, s.Met))
	}
	got := fmt.Sprint(measured, targets, r.Broken, r.Failed, r.Later)
	want := "[2m1 3m5 3n6 11m1] [2true 3false 11true] [scenario 2: b scenario 11: b] [scenario 2: f scenario 11: f] " +
		"[{1970-01-01 00:00:01 +0000 UTC [2]} {1970-01-01 00:00:02 +0000 UTC [3]}]"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	page, err := r.markdown()
	if err != nil || !strings.Contains(page, "| measured again | 1970-01-01, in another run on the same machine: scenario 3 |") {
		t.Errorf("the page does not say so: %v", err)
	}

	again.Go = "go2"
	if err := first().replace(again, []string{"3"}); err == nil {
		t.Error("what another Go has measured was taken over")
	}
}

func TestAnothersErrorCostsItsRoundAndOursTheScenario(t *testing.T) {
	t.Parallel()
	b := &bench{report: new(report), current: "3"}
	broken := errors.New("it broke")
	another := library{name: nameRedsync, module: moduleRedsync}
	if err := b.carryOn(t.Context(), another, 1, broken); err != nil {
		t.Errorf("another's error ended the scenario: %v", err)
	}
	if f := b.report.Failed; len(f) != 1 || f[0] != "scenario 3: redsync, round 2: it broke" {
		t.Errorf("it is told as %q", f)
	}
	if err := b.carryOn(t.Context(), library{name: nameOurs}, 1, broken); !errors.Is(err, broken) {
		t.Errorf("our error is %v", err)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 3: "3", 27: "27", 365120: "365,120", 1234567.8: "1,234,568", 999.9: "1,000", 123.4: "123",
		12.34: "12.3", 1.234: "1.23", 0.6951: "0.695", 0.01234: "0.0123", -1234.5: "-1,234",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := plainNumber(12345.678); got != "12,345.678" {
		t.Error(got)
	}
	if got := sizeText("100000"); got != "100,000" {
		t.Error(got)
	}
}
