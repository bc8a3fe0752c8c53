package docs_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the blocks of the pages anew that are from files")

// TestBlocks: what a page shows is what it says that it is.
//
//   - go: either a whole file, which is vetted here, or the text of declarations in a file of the repository, which is then
//     compiled and tested where it stands. The comment before the block, as in the page's source, says which:
//     <!-- from: docs/code/recipes/lead.go --> is the whole file, and with #Lead,other behind it, these two of its names.
//     go test ./docs -update writes them anew.
//   - sh: commands, see TestCommands.
//   - json: is valid.
//   - js: what one has had before, in the guides for those who come from elsewhere; nobody runs it here.
//   - text: neither of them.
func TestBlocks(t *testing.T) {
	t.Parallel()
	programs := 0
	for _, p := range pages(t) {
		for _, b := range slices.Backward(p.blocks) {
			err := error(nil)
			switch {
			case b.lang == "go" && b.from != "":
				err = p.isFrom(t, b)
			case b.lang == "go" && strings.HasPrefix(b.text, "package "):
				programs++
				err = b.vet(t)
			case b.lang == "go":
				err = errors.New("is neither a whole file nor says which file it is from")
			case b.lang == "json" && !json.Valid([]byte(b.text)):
				err = errors.New("is no JSON")
			case b.lang == "js" && strings.HasPrefix(p.name, "docs/coming-from/"):
			case b.lang != "sh" && b.lang != "json" && b.lang != "text":
				err = fmt.Errorf("is %q: want go, sh, json, or text", b.lang)
			}
			if err != nil {
				t.Errorf("%s:%d: the block %v", p.name, b.line, err)
			}
		}
	}
	if programs == 0 {
		t.Error("README.md shows no program")
	}
}

// isFrom compares a block with what it says that it is from.
func (p page) isFrom(t *testing.T, b block) error {
	t.Helper()
	want, err := quoted(b.from)
	if err != nil || b.text == want {
		return err
	}
	if !*update {
		return fmt.Errorf("is not %s, which is:\n%s", b.from, want)
	}
	lines := strings.Split(read(t, p.name), "\n")
	first := b.line - 1
	lines = slices.Replace(lines, first, first+strings.Count(b.text, "\n"), strings.TrimSuffix(want, "\n"))
	write(t, filepath.Join(root, p.name), []byte(strings.Join(lines, "\n")))
	return nil
}

// quoted returns a file that is compiled and tested, or declarations in it.
func quoted(from string) (string, error) {
	file, names, _ := strings.Cut(from, "#")
	path := filepath.Join(root, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if strings.Contains(string(text), "\n//go:build") || strings.HasPrefix(string(text), "//go:build") {
		return "", fmt.Errorf("is from %s, which is not always compiled", file)
	}
	if tests, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*_test.go")); err != nil || len(tests) == 0 {
		return "", fmt.Errorf("is from %s, beside which there is no test", file)
	}
	if names == "" {
		return string(text), nil
	}
	return declarations(path, text, strings.Split(names, ","))
}

// declarations returns the text of declarations of a file with their comments, an empty line between them.
func declarations(path string, source []byte, names []string) (string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for _, d := range file.Decls {
		begin, doc := d.Pos(), (*ast.CommentGroup)(nil)
		var name string
		switch d := d.(type) {
		case *ast.FuncDecl:
			name, doc = d.Name.Name, d.Doc
		case *ast.GenDecl:
			doc = d.Doc
			switch s := d.Specs[0].(type) {
			case *ast.TypeSpec:
				name = s.Name.Name
			case *ast.ValueSpec:
				name = s.Names[0].Name
			}
		}
		if doc != nil {
			begin = doc.Pos()
		}
		found[name] = string(source[files.Position(begin).Offset:files.Position(d.End()).Offset]) + "\n"
	}
	texts := make([]string, len(names))
	for i, n := range names {
		if texts[i] = found[n]; n == "" || texts[i] == "" {
			return "", fmt.Errorf("is from %s, which declares no %q", path, n)
		}
	}
	return strings.Join(texts, "\n"), nil
}

// vet vets a whole program.
func (b block) vet(t *testing.T) error {
	t.Helper()
	if formatted, err := format.Source([]byte(b.text)); err != nil {
		return err
	} else if string(formatted) != b.text {
		return errors.New("is not as gofmt has it")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	write(t, file, []byte(b.text))
	cmd := exec.CommandContext(t.Context(), "go", "vet", file)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("does not pass go vet: %w\n%s", err, out)
	}
	return nil
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
