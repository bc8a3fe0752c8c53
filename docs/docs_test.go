// Package docs_test checks what the documentation says against the repository. It does not check that it is true.
package docs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+|Fuzz[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

func TestTestsNamedExist(t *testing.T) {
	t.Parallel()
	exist := testsOf(t)
	for _, p := range pages(t) {
		for _, n := range testName.FindAllStringSubmatch(p.prose, -1) {
			if !exist[n[1]] {
				t.Errorf("%s names %s, which does not exist", p.name, n[1])
			}
		}
	}
}

// testsOf returns the names of all tests and fuzz targets, in every module.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	exist := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, f := range testFunc.FindAllStringSubmatch(string(b), -1) {
			exist[f[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return exist
}

var (
	promised = regexp.MustCompile(`(?m)^### (G[0-9]+): `)
	ofTest   = regexp.MustCompile(`^Test((?:G[0-9]+)+)[A-Z]`)
	ofG      = regexp.MustCompile(`G[0-9]+`)
	source   = regexp.MustCompile("`((?:lock|worker|internal)/[a-z_/]+\\.(?:go|lua))`")
)

// TestGuaranteesAreComplete: each promise has its section with tests, and in it stands every test that is named after it.
func TestGuaranteesAreComplete(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/guarantees.md")
	sections := map[string]string{}
	heads := promised.FindAllStringSubmatchIndex(page, -1)
	for _, h := range heads {
		text, _, _ := strings.Cut(page[h[1]:], "\n#")
		sections[page[h[2]:h[3]]] = text
	}
	for n := range 10 {
		g := fmt.Sprintf("G%d", n+1)
		if !testName.MatchString(sections[g]) {
			t.Errorf("%s has no tests, or no section", g)
		}
	}
	for name := range testsOf(t) {
		promises := ofTest.FindStringSubmatch(name)
		if promises == nil {
			continue
		}
		for _, g := range ofG.FindAllString(promises[1], -1) {
			if !strings.Contains(sections[g], "`"+name+"`") {
				t.Errorf("%s is not named under %s", name, g)
			}
		}
	}
	for _, f := range source.FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(root, f[1])); err != nil {
			t.Error(err)
		}
	}
}

// TestTortureIsSummedUp: what docs/torture.md tells of a run in its sum is what docs/guarantees.md tells.
func TestTortureIsSummedUp(t *testing.T) {
	t.Parallel()
	report, err := os.ReadFile(filepath.Join(root, "docs", "torture.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("docs/torture.md is not there: make torture writes it")
	}
	sum := regexp.MustCompile(`(?m)^\| \*\*all\*\* \|.*$`).Find(report)
	if err != nil || sum == nil {
		t.Fatalf("docs/torture.md has no sum: %v", err)
	}
	page := read(t, "docs/guarantees.md")
	if !strings.Contains(page, string(sum)) || !strings.Contains(page, "](torture.md)") {
		t.Errorf("docs/guarantees.md lacks the link to torture.md, or its sum:\n%s", sum)
	}
}
