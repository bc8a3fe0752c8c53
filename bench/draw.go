package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // for .png
	_ "gonum.org/v1/plot/vg/vgsvg" // for .svg
)

// A panel is one part of the picture: a metric against the size.
type panel struct {
	title, x, y string
	metric      string
	scenarios   []string // a size that several measured is taken from the first
}

var panels = []panel{
	{"What a hand-over costs", "lockers that wait for one key", "Redis commands per grant", commandsEach, []string{"4", "10"}},
	{"How long a hand-over takes", "lockers that wait for one key", "gap p50, µs", gapP50, []string{"4", "10"}},
	{"What a kept lease costs", "leases of one process", "bytes a lease", bytesEach, []string{"7", "10"}},
}

// draw writes the picture, cost against number of waiters and of leases, as the file's ending says: .svg or .png.
func (r *report) draw(path string) error {
	const width, height = 5 * vg.Inch, 4 * vg.Inch
	row := make([]*plot.Plot, len(panels))
	for i, p := range panels {
		var err error
		if row[i], err = r.plot(p); err != nil {
			return fmt.Errorf("picture %q: %w", p.title, err)
		}
	}
	canvas, err := draw.NewFormattedCanvas(vg.Length(len(row))*width, height, strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return err
	}
	tiles := draw.Tiles{Rows: 1, Cols: len(row), PadX: vg.Points(18), PadTop: vg.Points(6), PadRight: vg.Points(12), PadLeft: vg.Points(6)}
	page := draw.New(canvas)
	for i, p := range row {
		p.Draw(tiles.At(page, i, 0))
	}
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}

func (r *report) plot(p panel) (*plot.Plot, error) {
	out := plot.New()
	out.Title.Text, out.X.Label.Text, out.Y.Label.Text = p.title, p.x, p.y
	out.BackgroundColor = color.White
	out.X.Scale, out.Y.Scale = plot.LogScale{}, plot.LogScale{}
	out.X.Tick.Marker, out.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	out.Legend.Top, out.Legend.Left = true, true
	out.Add(plotter.NewGrid())
	low, high := 0.0, 0.0
	for i, l := range libraries {
		points := r.points(p, l.name)
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = plotutil.DarkColors[i%len(plotutil.DarkColors)], vg.Points(1.5)
		dots.Color, dots.Shape = line.Color, plotutil.Shape(i)
		out.Add(line, dots)
		out.Legend.Add(l.name, line, dots)
		for _, pt := range points {
			if low == 0 || pt.Y < low {
				low = pt.Y
			}
			high = max(high, pt.Y)
		}
	}
	if high == 0 {
		return nil, errors.New("nothing was measured; it needs scenarios 4, 7 and 10")
	}
	out.Y.Min, out.Y.Max = low/2, high*8 // room for the legend
	return out, nil
}

// points returns the medians of one contender, by size. A logarithmic scale has no zero.
func (r *report) points(p panel, contender string) plotter.XYs {
	var points plotter.XYs
	for _, scenario := range p.scenarios {
		for _, m := range r.Measures {
			n, err := strconv.Atoi(m.Size)
			if err != nil || m.Scenario != scenario || m.Metric != p.metric || m.Contender != contender || m.Median <= 0 {
				continue
			}
			x := float64(n)
			if !slices.ContainsFunc(points, func(q plotter.XY) bool { return q.X == x }) {
				points = append(points, plotter.XY{X: x, Y: m.Median})
			}
		}
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
	return points
}
