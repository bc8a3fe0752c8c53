package docs_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// commandIn finds a command in the middle of a sentence.
var commandIn = regexp.MustCompile("`((?:go (?:run|test|doc)|make) [^`]+)`")

// TestCommands: of each command in a block of kind sh, or in a sentence, there are the target, the program, the tests and the
// flags that it names. It is not run.
func TestCommands(t *testing.T) {
	t.Parallel()
	check := func(where, command string) {
		if err := checkCommand(command); err != nil {
			t.Errorf("%s: %s: %v", where, command, err)
		}
	}
	n := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "sh" {
				continue
			}
			for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
				if line, _, _ = strings.Cut(strings.TrimSpace(line), " # "); line != "" {
					n++
					check(fmt.Sprintf("%s:%d", p.name, b.line), line)
				}
			}
		}
		for _, m := range commandIn.FindAllStringSubmatch(p.prose, -1) {
			n++
			check(p.name, strings.Join(strings.Fields(m[1]), " "))
		}
	}
	if n < 10 {
		t.Errorf("only %d commands were found", n)
	}
}

// word is a word of a command, quoted or not.
var word = regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`)

// others are commands that are not ours.
var others = []string{"cd", "curl", "git", "redis-cli"}

func checkCommand(line string) error {
	var words []string
	for _, m := range word.FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	for len(words) > 0 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return slices.Contains([]string{"&&", "||", "|", ";"}, w) }) {
		return errors.New("want one command a line")
	}
	switch {
	case words[0] == "make":
		return checkMake(words[1:])
	case words[0] == "go" && len(words) > 1:
		return checkGo(words[1], words[2:])
	case slices.Contains(others, words[0]):
		return nil
	}
	return errors.New("not a command that this test knows")
}

func checkMake(words []string) error {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	for _, w := range words {
		name, _, set := strings.Cut(w, "=")
		pattern := `(?m)^` + regexp.QuoteMeta(name) + `:`
		if set {
			pattern = `\$\(` + regexp.QuoteMeta(name) + `\)|(?m)^export .*\b` + regexp.QuoteMeta(name) + `\b`
		}
		if !regexp.MustCompile(pattern).Match(makefile) {
			return fmt.Errorf("the Makefile has no %s", name)
		}
	}
	return nil
}

// goFlags are flags of go test itself; those that are true take a value.
var goFlags = map[string]bool{
	"run": true, "bench": true, "fuzz": true, "count": true, "timeout": true, "benchtime": true, "parallel": true, "fuzztime": true, "C": true,
	"race": false, "v": false, "short": false, "cover": false, "json": false,
}

// checkGo looks at the words after go run, go test and go doc.
func checkGo(verb string, words []string) error {
	switch verb {
	case "mod", "get":
		return nil
	case "run", "test", "doc":
	default:
		return fmt.Errorf("go %s is not known to this test", verb)
	}
	dir, given, packages := root, map[string]string{}, []string{}
	for i := 0; i < len(words); i++ {
		name, isFlag := strings.CutPrefix(words[i], "-")
		if !isFlag {
			packages = append(packages, words[i])
			continue
		}
		name, value, _ := strings.Cut(name, "=")
		takes, own := goFlags[name]
		if value == "" && (takes || !own) && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			i++
			value = words[i]
		}
		if name == "C" {
			dir = filepath.Join(root, value)
		} else {
			given[name] = value
		}
	}
	if len(packages) == 0 {
		packages = []string{"."}
	}
	if verb == "run" && len(packages) > 1 {
		return fmt.Errorf("one program, and not %q", packages)
	}
	for _, p := range packages {
		if err := checkPackage(verb, dir, p, given); err != nil {
			return err
		}
	}
	return nil
}

// checkPackage looks for a package, for the flags of its program or its tests, and for the tests themselves.
func checkPackage(verb, dir, name string, given map[string]string) error {
	folder, below := strings.CutSuffix(filepath.Join(dir, name), "...")
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 && !below {
		return fmt.Errorf("no package %s", folder)
	}
	if verb == "doc" || below {
		return nil
	}
	flags, tests, err := declared(files, verb == "test")
	if err != nil {
		return err
	}
	for f, value := range given {
		_, own := goFlags[f]
		switch {
		case verb == "test" && (f == "run" || f == "bench" || f == "fuzz"):
			if first, _, _ := strings.Cut(value, "/"); !matches(first, f, tests) && !(f == "run" && given["bench"] != "") {
				return fmt.Errorf("%s has no test %s", folder, value)
			}
		case verb == "test" && own:
		case !slices.Contains(flags, f):
			return fmt.Errorf("%s has no flag -%s: %q", folder, f, flags)
		}
	}
	return nil
}

// matches reports whether each alternative of a pattern stands for a test of that kind.
func matches(pattern, kind string, tests []string) bool {
	prefix := map[string]string{"run": "Test", "bench": "Benchmark", "fuzz": "Fuzz"}[kind]
	for _, alternative := range strings.Split(pattern, "|") {
		re, err := regexp.Compile(alternative)
		if err != nil || !slices.ContainsFunc(tests, func(t string) bool { return strings.HasPrefix(t, prefix) && re.MatchString(t) }) {
			return false
		}
	}
	return true
}

// defines are the functions of package flag that take a name first, or, as …Var, second.
var defines = regexp.MustCompile(`^(Bool|String|Int|Int64|Uint|Uint64|Float64|Duration|Func|BoolFunc|Text)?(Var)?$`)

// declared returns the flags and the tests that files declare.
func declared(files []string, withTests bool) (flags, tests []string, err error) {
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") && !withTests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				tests = append(tests, n.Name.Name)
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || !defines.MatchString(f.Sel.Name) {
					break
				}
				place := 0
				if strings.HasSuffix(f.Sel.Name, "Var") {
					place = 1
				}
				if len(n.Args) > place {
					if text, ok := n.Args[place].(*ast.BasicLit); ok && text.Kind == token.STRING {
						if name, err := strconv.Unquote(text.Value); err == nil {
							flags = append(flags, name)
						}
					}
				}
			}
			return true
		})
	}
	return flags, tests, nil
}
