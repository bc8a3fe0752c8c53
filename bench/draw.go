package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // for .png
	_ "gonum.org/v1/plot/vg/vgsvg" // for .svg
)

// A panel is one part of the picture: a metric against the size.
type panel struct {
	title, unit, x string
	metric         string
	scenarios      []string // a size that several measured is taken from the first
}

var panels = []panel{
	{"A hand-over’s cost", "Redis commands per hand-over, those that scripts call included", "lockers on one key", commandsEach, []string{"4", "10"}},
	{"A hand-over’s time", "from release to the grant of another locker, p50, µs", "lockers on one key", gapP50, []string{"4", "10"}},
	{"Time to keep leases", "the client’s processor time, % of one core", "leases of one process", clientShare, []string{"7", "10"}},
	{"Memory to keep leases", "bytes a lease in the client", "leases of one process", bytesEach, []string{"7", "10"}},
}

const (
	pictureTitle = "What it costs as the crowd grows"

	columns              = 2
	tileWide, tileHigh   = vg.Length(430), vg.Length(270)
	edge, gutter         = vg.Length(24), vg.Length(32)
	headHigh, footHigh   = vg.Length(40), vg.Length(32)
	titleHigh, labelWide = vg.Length(44), vg.Length(72)
)

// draw writes the picture, cost against number of waiters and of leases, as the file's ending says: .svg, which follows its
// reader's preference for light or dark, or .png, which is light.
func (r *report) draw(path string) error {
	format := filepath.Ext(path)
	var out bytes.Buffer
	if err := r.paint(&out, format, light); err != nil {
		return err
	}
	if format == ".svg" {
		return save(path, []byte(adapt(out.String(), pictureTitle)))
	}
	return save(path, out.Bytes())
}

func (r *report) paint(w io.Writer, format string, colours palette) error {
	rows := vg.Length((len(panels) + columns - 1) / columns)
	wide := 2*edge + columns*tileWide + (columns-1)*gutter
	high := 2*edge + headHigh + rows*tileHigh + (rows-1)*gutter + footHigh
	canvas, err := draw.NewFormattedCanvas(wide, high, format[min(1, len(format)):])
	if err != nil {
		return err
	}
	page := draw.New(canvas)
	page.FillPolygon(colours.card, []vg.Point{{X: -1, Y: -1}, {X: wide + 1, Y: -1}, {X: wide + 1, Y: high + 1}, {X: -1, Y: high + 1}})
	page.FillText(heading(18, colours.ink), vg.Point{X: edge, Y: high - edge - 14}, pictureTitle)
	page.FillText(style(10, colours.muted), vg.Point{X: edge, Y: edge - 4}, r.caption())
	for i, p := range panels {
		left := edge + vg.Length(i%columns)*(tileWide+gutter)
		top := high - edge - headHigh - vg.Length(i/columns)*(tileHigh+gutter)
		tile := draw.Canvas{Canvas: page.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: left, Y: top - tileHigh},
			Max: vg.Point{X: left + tileWide, Y: top},
		}}
		if err := r.paintPanel(tile, p, colours); err != nil {
			return fmt.Errorf("picture %q: %w", p.title, err)
		}
	}
	_, err = canvas.WriteTo(w)
	return err
}

func (r *report) caption() string {
	return fmt.Sprintf("Less is better; all axes are logarithmic. Medians of %d rounds, %s, %s, %d cores, redis-server %s.",
		r.Rounds, r.Date.Format(time.DateOnly), r.Machine.CPU, r.Machine.Cores, r.Redis)
}

func style(size vg.Length, c color.Color) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	return draw.TextStyle{Color: c, Font: f, Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YBottom}
}

func heading(size vg.Length, c color.Color) draw.TextStyle {
	bold := style(size, c)
	bold.Font.Weight = 3 // font.WeightBold of golang.org/x/image
	return bold
}

// A series is what the picture shows of one contender.
type series struct {
	name   string
	points plotter.XYs
}

func (r *report) paintPanel(c draw.Canvas, p panel, colours palette) error {
	c.FillText(heading(14, colours.ink), vg.Point{X: c.Min.X, Y: c.Max.Y - 14}, p.title)
	c.FillText(style(11, colours.muted), vg.Point{X: c.Min.X, Y: c.Max.Y - 31}, p.unit)
	var lines []series
	for _, l := range libraries {
		if points := r.points(p, l.name); len(points) > 0 {
			lines = append(lines, series{l.name, points})
		}
	}
	if len(lines) == 0 {
		c.FillText(style(11, colours.muted), c.Center(), "not measured")
		return nil
	}
	area := axes(p, lines, colours)
	slices.Reverse(lines) // ours on top
	for _, s := range lines {
		line, dots, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		line.Color, line.Width = colours.lines[s.name], vg.Points(1.75)
		dots.Color, dots.Shape, dots.Radius = line.Color, draw.CircleGlyph{}, vg.Points(3)
		if s.name == nameOurs {
			line.Width, dots.Radius = vg.Points(3), vg.Points(4)
		}
		area.Add(line, dots)
	}
	inner := draw.Crop(c, 0, -labelWide, 0, -titleHigh)
	area.Draw(inner)
	label(area, inner, lines, colours)
	return nil
}

// axes returns a plot that has room for the lines, and nothing in it yet.
func axes(p panel, lines []series, colours palette) *plot.Plot {
	area := plot.New()
	area.BackgroundColor = nil
	area.X.Label.Text = p.x
	area.X.Label.TextStyle = style(11, colours.muted)
	area.X.Label.TextStyle.XAlign = text.XCenter
	area.X.Label.Padding = vg.Points(2)
	low, high := lines[0].points[0], lines[0].points[0]
	for _, s := range lines {
		for _, q := range s.points {
			low.X, low.Y = min(low.X, q.X), min(low.Y, q.Y)
			high.X, high.Y = max(high.X, q.X), max(high.Y, q.Y)
		}
	}
	area.X.Min, area.X.Max = low.X/1.15, high.X*1.15
	area.Y.Min, area.Y.Max = below(low.Y), above(high.Y)
	for _, a := range []*plot.Axis{&area.X, &area.Y} {
		a.Scale = plot.LogScale{}
		a.Color, a.Tick.Color = colours.muted, colours.muted
		a.Padding = 0
		a.Tick.Length = vg.Points(4)
		a.Tick.Label.Font, a.Tick.Label.Color = style(10, nil).Font, colours.muted
	}
	area.X.Tick.Marker = plot.ConstantTicks(sizeTicks(lines, math.Log(area.X.Max/area.X.Min)))
	area.Y.Tick.Marker = plot.ConstantTicks(ticks(area.Y.Min, area.Y.Max))
	area.Y.Color, area.Y.Tick.Color = color.Transparent, color.Transparent
	area.Y.Width, area.Y.Tick.Width = 0, 0
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color, grid.Horizontal.Width = colours.grid, vg.Points(1)
	area.Add(grid)
	return area
}

// label writes each contender's name beside the last point of its line, and keeps the names apart.
func label(area *plot.Plot, c draw.Canvas, lines []series, colours palette) {
	const apart = vg.Length(13)
	data := area.DataCanvas(c)
	x, y := area.Transforms(&data)
	type place struct {
		name string
		at   vg.Point
	}
	var places []place
	for _, s := range lines {
		last := s.points[len(s.points)-1]
		places = append(places, place{s.name, vg.Point{X: x(last.X) + 8, Y: y(last.Y) - 4}})
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.at.Y, b.at.Y) })
	for i := 1; i < len(places); i++ {
		places[i].at.Y = max(places[i].at.Y, places[i-1].at.Y+apart)
	}
	for _, p := range places {
		c.FillText(heading(11, colours.lines[p.name]), p.at, p.name)
	}
}

// points returns the medians of one contender, by size. A logarithmic scale has no zero.
func (r *report) points(p panel, contender string) plotter.XYs {
	var points plotter.XYs
	for _, scenario := range p.scenarios {
		for _, m := range r.Measures {
			n, err := strconv.Atoi(m.Size)
			if err != nil || m.Scenario != scenario || m.Metric != p.metric || m.Contender != contender || !(m.Median > 0) {
				continue
			}
			x := float64(n)
			if !slices.ContainsFunc(points, func(q plotter.XY) bool { return q.X == x }) {
				points = append(points, plotter.XY{X: x, Y: m.Median})
			}
		}
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	return points
}

// sizeTicks returns the sizes that were measured, without those whose text would touch the one before. The axis spans so
// many powers of e.
func sizeTicks(lines []series, span float64) []plot.Tick {
	const axisWide, character = float64(tileWide - labelWide - 40), 5.5
	var sizes []float64
	for _, s := range lines {
		for _, q := range s.points {
			sizes = append(sizes, q.X)
		}
	}
	slices.Sort(sizes)
	var out []plot.Tick
	end := math.Inf(-1) // of the text before
	for _, v := range sizes {
		t := plot.Tick{Value: v, Label: plainNumber(v)}
		at, half := math.Log(v)/span*axisWide, float64(len(t.Label))*character/2
		if at-half >= end {
			out = append(out, t)
			end = at + half + 4
		}
	}
	return out
}

// steps are the round numbers of a decade.
var steps = []float64{1, 2, 5}

// ticks returns the round numbers from low to high: all of them if they are few, else the powers of ten.
func ticks(low, high float64) []plot.Tick {
	take := steps
	if high/low > 150 {
		take = steps[:1]
	}
	var out []plot.Tick
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		for _, s := range take {
			if v := s * decade; v >= low*(1-1e-9) && v <= high*(1+1e-9) {
				out = append(out, plot.Tick{Value: v, Label: plainNumber(v)})
			}
		}
	}
	return out
}

// below and above return the next round number.
func below(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, s := range slices.Backward(steps) {
		if s*decade <= v*0.95 {
			return s * decade
		}
	}
	return decade / 2
}

func above(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, s := range slices.Concat(steps, []float64{10}) {
		if s*decade >= v*1.05 {
			return s * decade
		}
	}
	return 20 * decade
}
