package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"slices"
	"strings"
)

// What stands where, in px.
const (
	svgWidth   = 880
	svgLeft    = 84  // of time 0
	svgRight   = 780 // of the end of the run; beside it stands how the last attempt ended
	svgTop     = 66
	svgLane    = 46
	svgBar     = 18
	svgFooting = 84
)

// look is a colour in light and in dark. The light one is an attribute of what it colours, so that a viewer that knows no
// style sheets shows it too.
type look struct{ name, light, dark string }

var (
	paper  = look{"paper", "#FFFFFF", "#0D1117"}
	ink    = look{"ink", "#1F2328", "#F0F6FC"}
	faint  = look{"faint", "#59636E", "#9AA3AD"}
	rule   = look{"rule", "#D1D9E0", "#30363D"}
	blue   = look{"blue", "#0A62D0", "#58A6FF"}
	orange = look{"orange", "#B8500A", "#F0883E"}
	red    = look{"red", "#CF222E", "#F85149"}
	green  = look{"green", "#15803B", "#3FB950"}
)

// looksOf says, beside the word, how an attempt ended: a mark, drawn 10 by 10, and its colour.
var looksOf = map[ending]struct {
	mark string
	look look
}{
	endDone:      {"m0 5l3 4l7-8", green},
	endFailed:    {"m1 1l8 8m0-8l-8 8", orange},
	endKilled:    {"m1 1l8 8m0-8l-8 8", red},
	endLost:      {"m1 1l8 8m0-8l-8 8", red},
	endGivenBack: {"m9 5h-8m4-4l-4 4l4 4", faint},
}

func (p *picture) write(file string) error {
	return os.WriteFile(file, p.svg(), 0o644) //nolint:gosec // a picture is there to be seen
}

// svg draws the run.
func (p *picture) svg() []byte {
	c := &canvas{p: p}
	for _, l := range p.Lanes {
		c.last = max(c.last, l.End)
	}
	bottom := svgTop + len(p.Lanes)*svgLane
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="Liberation Sans,Arial,Helvetica,sans-serif" role="img">`, svgWidth, bottom+svgFooting)
	c.printf(`<title>%d processes, one job</title>`, len(p.Lanes))
	c.printf(`<desc>%s</desc>`, escape(p.told()))
	c.printf(`<metadata><![CDATA[%s]]></metadata>`, data) // json writes > as \u003e
	c.printf(`<style>@media (prefers-color-scheme:dark){`)
	for _, l := range []look{paper, ink, faint, rule, blue, orange, red, green} {
		c.printf(`.%s{fill:%s}.%[1]s-line{stroke:%[2]s}`, l.name, l.dark)
	}
	c.printf(`}</style>`)
	c.printf(`<rect width="100%%" height="100%%" %s/>`, fill(paper))
	c.text(16, 26, 15, ink, `font-weight="bold"`, fmt.Sprintf("%d processes, one job", len(p.Lanes)))
	c.text(16, 45, 11, faint, "", p.Command)
	c.axis(bottom)
	for i, l := range p.Lanes {
		c.lane(l, svgTop+i*svgLane+svgLane-svgBar)
	}
	c.legend(bottom + 44)
	c.text(16, bottom+70, 10, faint, "", p.Summary)
	c.printf(`</svg>`)
	return c.Bytes()
}

// canvas is what is being drawn.
type canvas struct {
	bytes.Buffer
	p    *picture
	last int64 // the end of the run
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

func (c *canvas) x(at int64) float64 {
	return svgLeft + float64(at)/float64(max(c.last, 1))*(svgRight-svgLeft)
}

func (c *canvas) text(x float64, y, size int, l look, how, text string) {
	c.printf(`<text x="%.1f" y="%d" font-size="%d" %s %s>%s</text>`, x, y, size, fill(l), how, escape(text))
}

func (c *canvas) axis(bottom int) {
	step := int64(1000)
	for _, s := range []int64{2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000} { // ms
		if step = s * 1000; c.last/step <= 10 {
			break
		}
	}
	for at := int64(0); at <= c.last; at += step {
		c.printf(`<path d="M%.1f %dV%d" %s/>`, c.x(at), svgTop, bottom+6, stroke(rule))
		c.text(c.x(at), bottom+20, 10, faint, `text-anchor="middle"`, fmt.Sprintf("%d ms", at/1000))
	}
}

// lane draws a process: a dotted line while it lives, bars where it works.
func (c *canvas) lane(l *lane, y int) {
	middle := y + svgBar/2
	c.printf(`<g class="lane">`)
	c.text(16, middle+4, 12, ink, "", fmt.Sprintf("worker %d", l.Worker))
	c.printf(`<path d="M%.1f %dH%.1f" %s stroke-width="2" stroke-dasharray="2 4"/>`, c.x(l.Begin), middle, c.x(l.End), stroke(faint))
	for _, s := range l.Spans {
		c.span(s, y, c.x(l.End))
	}
	if !l.Killed {
		c.printf(`<circle cx="%.1f" cy="%d" r="4" class="paper %s-line" fill="%s" stroke="%s" stroke-width="2"/>`, c.x(l.End), middle, faint.name, paper.light, faint.light)
	}
	c.printf(`</g>`)
}

// span draws an attempt, how it ended, and how long after the one before it began.
func (c *canvas) span(s *span, y int, laneEnd float64) {
	x, end, how := c.x(s.Begin), c.x(s.End), looksOf[s.How]
	c.printf(`<rect class="blue" x="%.1f" y="%d" width="%.1f" height="%d" rx="3" fill="%s"/>`, x, y, max(end-x, 3), svgBar, blue.light)
	if end-x > 58 {
		c.text(x+6, y+13, 11, paper, "", fmt.Sprintf("attempt %d", s.Attempt))
	}
	if end += 6; laneEnd-end < 20 { // not on the mark at the lane's end
		end = max(end, laneEnd+9)
	}
	c.printf(`<rect x="%.1f" y="%d" width="%d" height="%d" %s/>`, end-2, y, 20+8*len(s.How), svgBar, fill(paper))
	c.printf(`<path d="M%.1f %d%s" %s stroke-width="2.5"/>`, end, y+4, how.mark, stroke(how.look))
	c.text(end+14, y+14, 13, how.look, `font-weight="bold"`, string(s.How))
	if before := c.p.before(s); before != nil {
		c.text(x, y-6, 11, ink, "", fmt.Sprintf("%s after attempt %d %s", inMillis(s.Begin-before.End), before.Attempt, was(before.How)))
	}
}

func (c *canvas) legend(y int) {
	c.printf(`<path d="M16 %dh26" %s stroke-width="2" stroke-dasharray="2 4"/>`, y-4, stroke(faint))
	c.text(50, y, 11, faint, "", "waits in line")
	c.printf(`<rect class="blue" x="136" y="%d" width="26" height="10" rx="3" fill="%s"/>`, y-9, blue.light)
	c.text(170, y, 11, faint, "", "works under a lease")
	c.printf(`<circle cx="301" cy="%d" r="4" class="paper %s-line" fill="%s" stroke="%s" stroke-width="2"/>`, y-4, faint.name, paper.light, faint.light)
	c.text(313, y, 11, faint, "", "ends, knowing what came of the job")
}

// told is the picture in words.
func (p *picture) told() string {
	var all []string
	for _, l := range p.Lanes {
		for _, s := range l.Spans {
			text := fmt.Sprintf("Attempt %d: worker %d worked for %s, %s.", s.Attempt, l.Worker, inMillis(s.End-s.Begin), s.How)
			if before := p.before(s); before != nil {
				text += fmt.Sprintf(" It began %s after attempt %d %s.", inMillis(s.Begin-before.End), before.Attempt, was(before.How))
			}
			all = append(all, text)
		}
	}
	slices.Sort(all) // by attempts, as far as there are fewer than ten
	return strings.Join(all, " ")
}

// was is an ending as a verb.
func was(how ending) string {
	switch how {
	case endKilled, endDone, endLost, endGivenBack:
		return "was " + string(how)
	default:
		return string(how)
	}
}

// inMillis writes µs, with a digit after the point where it matters.
func inMillis(us int64) string {
	if us < 10_000 {
		return fmt.Sprintf("%.1f ms", float64(us)/1000)
	}
	return fmt.Sprintf("%d ms", (us+500)/1000)
}

func fill(l look) string { return fmt.Sprintf(`class="%s" fill="%s"`, l.name, l.light) }
func stroke(l look) string {
	return fmt.Sprintf(`class="%s-line" fill="none" stroke="%s"`, l.name, l.light)
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes all
	return b.String()
}
