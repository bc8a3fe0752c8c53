package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

func TestPictureIsReadableInLightAndDark(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.svg")
	if err := example().draw(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for tokens := xml.NewDecoder(bytes.NewReader(data)); ; {
		if _, err := tokens.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	svg := string(data)
	head, body, _ := strings.Cut(svg, "</style>")
	for _, painted := range regexp.MustCompile(`(?:fill|stroke):#[0-9A-F]{6}`).FindAllString(body, -1) {
		if !strings.Contains(head, `"`+painted+`"`) {
			t.Errorf("%s has no dark counterpart", painted)
		}
	}
	for _, want := range []string{">ours<", ">rueidislock<", ">1,000<", ">100,000<", "sans-serif", "<title>"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
	for _, p := range panels {
		if !strings.Contains(svg, p.title) || !strings.Contains(svg, p.unit) {
			t.Errorf("the picture lacks %q", p.title)
		}
	}
}

func TestPictureAsPNG(t *testing.T) {
	t.Parallel()
	for _, colours := range []palette{light, dark} {
		var out bytes.Buffer
		if err := example().paint(&out, ".png", colours); err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(&out); err != nil {
			t.Error(err)
		}
	}
}

func TestPictureOfNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.svg")
	if err := new(report).draw(file); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Count(string(data), "not measured") != len(panels) {
		t.Errorf("it does not say that nothing was measured: %v", err)
	}
	if err := new(report).draw(filepath.Join(t.TempDir(), "p.unknown")); err == nil {
		t.Error("a format that nobody knows is drawn")
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	text := func(ticks []plot.Tick) string {
		var out []string
		for _, tick := range ticks {
			out = append(out, tick.Label)
		}
		return strings.Join(out, " ")
	}
	if got := text(ticks(2, 5000)); got != "10 100 1,000" {
		t.Errorf("three decades: %s", got)
	}
	if got := text(ticks(200, 5000)); got != "200 500 1,000 2,000 5,000" {
		t.Errorf("one decade: %s", got)
	}
	if got := text(ticks(0.5, 5)); got != "0.5 1 2 5" {
		t.Errorf("below one: %s", got)
	}
	crowded := []series{{"", plotter.XYs{{X: 20_000}, {X: 50_000}, {X: 200_000}}}, {"", plotter.XYs{{X: 20_000}, {X: 51_000}}}}
	if got := text(sizeTicks(crowded, 2.5)); got != "20,000 50,000 200,000" {
		t.Errorf("sizes: %s", got)
	}
}

func TestAxisEndsAtARoundNumberBeyondTheValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ v, below, above float64 }{
		{27, 20, 50}, {420, 200, 500}, {1, 0.5, 2}, {10, 5, 20}, {99, 50, 200}, {0.3, 0.2, 0.5},
	} {
		if got := below(c.v); !near(got, c.below) {
			t.Errorf("below %v: %v, want %v", c.v, got, c.below)
		}
		if got := above(c.v); !near(got, c.above) {
			t.Errorf("above %v: %v, want %v", c.v, got, c.above)
		}
	}
}

func near(a, b float64) bool { return a > b*0.999 && a < b*1.001 }
