package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOptionsAreListed: the README has a row for every field of both configurations, and no other.
func TestOptionsAreListed(t *testing.T) {
	t.Parallel()
	_, options, _ := strings.Cut(read(t, "README.md"), "\n## Options\n")
	options, _, _ = strings.Cut(options, "\n## ")
	for _, name := range []string{"worker", "lock"} {
		_, table, found := strings.Cut(options, "\n`"+name+".Config`\n\n")
		if !found {
			t.Errorf("README.md has no options of %s", name)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		var rows []string
		for line := range strings.Lines(table) {
			if field, ok := strings.CutPrefix(line, "| `"); ok {
				field, _, _ = strings.Cut(field, "`")
				rows = append(rows, field)
			}
		}
		fields := fieldsOf(t, filepath.Join(root, name, "config.go"))
		slices.Sort(rows)
		slices.Sort(fields)
		if !slices.Equal(rows, fields) {
			t.Errorf("README.md lists of %s.Config\n%q, which has\n%q", name, rows, fields)
		}
	}
}

// fieldsOf returns the exported fields of a file's type Config.
func fieldsOf(t *testing.T, name string) (fields []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			for _, n := range f.Names {
				if n.IsExported() {
					fields = append(fields, n.Name)
				}
			}
		}
		return false
	})
	return fields
}

// TestPackagesAreListed: the README's table has a row for each package that others can import or run, in every module.
func TestPackagesAreListed(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(read(t, "README.md"), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "internal", "testdata", "docs"}, name)) {
			return fs.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		name, _ := filepath.Rel(root, path)
		if name = filepath.ToSlash(name); len(files) > 0 && !strings.Contains(table, "`"+name+"`") {
			t.Errorf("README.md does not list %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
