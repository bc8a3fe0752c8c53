package main

import (
	"fmt"
	"image/color"
	"strings"
)

// A palette is what the picture is painted with.
type palette struct {
	card, ink, muted, grid color.RGBA
	lines                  map[string]color.RGBA // by contender
}

var light = palette{
	card: rgb(0xffffff), ink: rgb(0x1f2328), muted: rgb(0x59636e), grid: rgb(0xe4e8ec),
	lines: map[string]color.RGBA{
		nameOurs: rgb(0x0a62d0), nameRedislock: rgb(0xb8500a), nameRedsync: rgb(0x7d4fd3), nameRueidislock: rgb(0x15803b),
	},
}

var dark = palette{
	card: rgb(0x0d1117), ink: rgb(0xf0f6fc), muted: rgb(0x9aa3ad), grid: rgb(0x262c34),
	lines: map[string]color.RGBA{
		nameOurs: rgb(0x58a6ff), nameRedislock: rgb(0xf0883e), nameRedsync: rgb(0xb795ff), nameRueidislock: rgb(0x3fb950),
	},
}

func rgb(hex uint32) color.RGBA {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// adapt makes an SVG that was painted in light colours follow its reader's: a style sheet puts the dark ones in their place.
// It also names fonts for readers without Liberation, and says what the picture is to those who cannot see it.
func adapt(svg, title string) string {
	var css strings.Builder
	swap := func(from, to color.RGBA) {
		for _, property := range []string{"fill", "stroke"} {
			fmt.Fprintf(&css, "[style*=%q]{%s:%s!important}", property+":"+hex(from), property, hex(to))
		}
	}
	swap(light.card, dark.card)
	swap(light.ink, dark.ink)
	swap(light.muted, dark.muted)
	swap(light.grid, dark.grid)
	for _, l := range libraries {
		if c, painted := light.lines[l.name]; painted {
			swap(c, dark.lines[l.name])
		}
	}
	svg = strings.ReplaceAll(svg, "font-family:Liberation Sans", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	head := fmt.Sprintf("<title>%s</title>\n<style>@media (prefers-color-scheme:dark){%s}</style>\n<g ", title, css.String())
	return strings.Replace(svg, "<g ", head, 1)
}
