package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is one Markdown file, name with slashes from the repository's root.
type page struct {
	name   string
	prose  string // without its blocks, whose lines are empty
	blocks []block
}

// block is what stands between fences.
type block struct {
	line int    // of its first line
	lang string // what the opening fence says
	from string // what a comment before it says: <!-- from: file#Name,Name -->
	text string
}

// pages returns all Markdown files, in every module.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && (d.Name() == "bin" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root) {
				return fs.SkipDir
			}
			return err
		}
		name, err := filepath.Rel(root, path)
		if name = filepath.ToSlash(name); filepath.Ext(path) == ".md" && name != "bench/notes.md" { // that is put into docs/benchmarks.md
			all = append(all, parse(t, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(p page) bool { return p.name == "docs/guarantees.md" }) {
		t.Fatalf("%d pages, without this folder's", len(all))
	}
	return all
}

var (
	fence  = regexp.MustCompile("^( *)```(.*)$")
	origin = regexp.MustCompile(`^<!-- from: (\S+) -->$`)
)

func parse(t *testing.T, name string) page {
	t.Helper()
	p := page{name: name}
	var prose []string
	var open *block
	from, indent := "", ""
	for i, line := range strings.Split(read(t, name), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			open, indent = &block{line: i + 2, lang: m[2], from: from}, m[1]
		case open == nil:
			if strings.TrimSpace(line) != "" {
				from = ""
			}
			if m := origin.FindStringSubmatch(line); m != nil {
				from = m[1]
			}
			prose = append(prose, line)
			continue
		case m != nil && m[2] == "":
			p.blocks = append(p.blocks, *open)
			open, from = nil, ""
		default:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
		prose = append(prose, "")
	}
	if open != nil {
		t.Errorf("%s:%d: a block does not end", name, open.line)
	}
	p.prose = strings.Join(prose, "\n")
	return p
}
