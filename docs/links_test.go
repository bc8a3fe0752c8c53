package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	code    = regexp.MustCompile("`[^`\n]*`")
)

// anchors returns where in a page one can link to, as GitHub makes it of the headings.
func (p page) anchors() map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(p.prose, -1) {
		text := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		unique := slug
		for n := 1; found[unique]; n++ {
			unique = slug + "-" + strconv.Itoa(n)
		}
		found[unique] = true
	}
	return found
}

// TestLinksLeadSomewhere: every link within the repository leads to a file or a folder, and to a heading where it names one; and
// every page can be reached from the README, and not by way of the changelog alone.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	byName, linked := map[string]page{}, map[string][]string{}
	for _, p := range pages(t) {
		byName[p.name] = p
	}
	for _, p := range byName {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(p.prose, "``"), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, hasAnchor := strings.Cut(target, "#")
			name := p.name
			if file != "" {
				name = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
			to, isPage := byName[name]
			if hasAnchor && (!isPage || !to.anchors()[anchor]) {
				t.Errorf("%s: %s: there is no such heading", p.name, target)
			}
			linked[p.name] = append(linked[p.name], name)
		}
	}
	reached := map[string]bool{}
	var reach func(name string)
	reach = func(name string) {
		if !reached[name] {
			reached[name] = true
			if name == "CHANGELOG.md" {
				return
			}
			for _, next := range linked[name] {
				reach(next)
			}
		}
	}
	reach("README.md")
	for name := range byName {
		if !reached[name] {
			t.Errorf("nobody who begins at README.md comes to %s", name)
		}
	}
}
