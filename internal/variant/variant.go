// Package variant builds tests from sources in which something was changed, and so shows nothing about the
// sources as they are. A check that finds nothing in them is worth what it finds where something is broken.
package variant

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An Edit replaces a text that stands in a file once.
type Edit struct {
	File     string // relative to the repository, or, where it begins with GOROOT/, to that
	Old, New string
}

// Apply returns the edited files with their new texts, by path. The test fails if a text does not stand where it should: the
// variant must follow the code.
func Apply(t testing.TB, edits ...Edit) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, e := range edits {
		path := locate(t, e.File)
		if _, read := texts[path]; !read {
			text, err := os.ReadFile(path) //nolint:gosec // a file of the repository, or of Go's
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(text)
		}
		if n := strings.Count(texts[path], e.Old); n != 1 {
			t.Fatalf("%s: %q stands there %d times, not once: the variant must follow the code", e.File, e.Old, n)
		}
		texts[path] = strings.Replace(texts[path], e.Old, e.New, 1)
	}
	return texts
}

// Build builds the test of the package in whose folder it is called, from the edited files, and returns the binary.
func Build(t testing.TB, edits ...Edit) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for path, text := range Apply(t, edits...) {
		file, err := os.CreateTemp(dir, "*-"+filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		replace[path] = file.Name()
		_, err = file.WriteString(text)
		if closed := file.Close(); err != nil || closed != nil {
			t.Fatal(err, closed)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "variant.test")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// locate returns where a file is.
func locate(t testing.TB, file string) string {
	t.Helper()
	if rest, ok := strings.CutPrefix(file, "GOROOT/"); ok {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(strings.TrimSpace(string(root)), rest)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "lock", "head.lua")); err == nil {
			return filepath.Join(dir, file)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("not within the repository")
		}
		dir = filepath.Dir(dir)
	}
}
