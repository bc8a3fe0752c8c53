package docs_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	required = regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)$`) // those that are // indirect have more behind it
	tabled   = regexp.MustCompile("(?m)^\\| `(\\S+)` (v[0-9][^ ,|]*)")
)

// TestDependenciesAreListed: docs/dependencies.md has a row for whatever a go.mod requires, with its version there, and no row
// for anything else.
func TestDependenciesAreListed(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/dependencies.md")
	versions := map[string]map[string]bool{} // by module
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		name, err := filepath.Rel(root, path)
		for _, m := range required.FindAllStringSubmatch(read(t, name), -1) {
			if strings.HasPrefix(m[1], "github.com/lockingworker/") {
				continue
			}
			if versions[m[1]] == nil {
				versions[m[1]] = map[string]bool{}
			}
			versions[m[1]][m[2]] = true
			if !strings.Contains(page, "`"+m[1]+"` "+m[2]) {
				t.Errorf("docs/dependencies.md lacks `%s` %s of %s", m[1], m[2], name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tabled.FindAllStringSubmatch(page, -1) {
		if !versions[m[1]][m[2]] {
			t.Errorf("docs/dependencies.md tells of %s %s, which no go.mod requires", m[1], m[2])
		}
	}
}
