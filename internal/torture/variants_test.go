package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A variant is lockingworker with one thing broken.
type variant struct {
	name  string
	edits []edit
	fault string // in which it shows
	check string // which checks must notice it: what their names begin with, and a promise; several with commas
}

// An edit replaces a text that stands in a file of the repository.
type edit struct{ file, old, new string }

var variants = []variant{
	{"a settlement's fence is not compared", []edit{
		{"lock/settle.lua", "if j.fence ~= fence or j.how ~= '-' then", "if j.how ~= '-' then"},
	}, "holder paused", "history G5"},
	{"the fence does not grow", []edit{
		{"lock/head.lua", "local function nextFence()", "local function nextFence() return meta[2] or format('%016.0f', us) end local function unused()"},
	}, "none", "fences G3, ledger G3"},
	{"fences come from a counter that can be lost", []edit{
		{"lock/head.lua", "local function nextFence()", "local function nextFence() return format('%016.0f', tonumber(meta[2] or '0') + 1) end local function unused()"},
	}, "redis restarted empty", "intervals G3"},
	{"all claims have one nonce", []edit{
		{"lock/entry.go", "b = appendNonce(b)\n", "b = append(b, \"AAAAAAAAAAA\"...)\n"},
	}, "none", "fences G3"},
	{"all runs have one record", []edit{
		{"lock/entry.go", "id.Key, 'j', id.Run)", "id.Key, 'j', \"0\")"},
	}, "none", "history G4"},
	{"done is not remembered", []edit{
		{"lock/settle.lua", "j.state = 'd'\n", "j.state = 'f'\n"},
		{"lock/settle.lua", "'Jd' .. ms(0)", "'Jf' .. ms(0)"},
	}, "none", "history G4"},
	{"the maximum is not compared", []edit{
		{"lock/settle.lua", "elseif j.attempts >= j.max then", "elseif false then"},
		{"lock/claim.lua", "if j and j.attempts >= max then", "if false then"},
	}, "none", "history G8"},
	{"a lease ends before it is over", []edit{
		{"lock/entry.lua", "return e > now and 'held' or 'lapsed', e", "return e > now + 500 and 'held' or 'lapsed', e"},
	}, "none", "intervals G1"},
	{"a deadline counts from the reply", []edit{
		{"lock/verdict.go", "c.sent, c.stamp = sent, stamp", "c.sent, c.stamp = l.now(), stamp"},
	}, "replies slow", "timers G2"},
	{"only messages wake", []edit{
		{"lock/queue.go", "d := min(a.left, probeTime-time.Millisecond)", "d := time.Hour + min(a.left, probeTime-time.Millisecond)"},
	}, "messages lost", "timers G7"},
	{"fence and owner of an unlock and an extension are not compared", []edit{
		{"lock/entry.lua", "return fenceIn(v) == sub(want, 2, 20) and ownerIn(v) == sub(want, 21)", "return true"},
	}, "none", "intervals G5, history G5"},
	{"callers of a bundle get each other's answers", []edit{
		{"lock/bundle.go", "for i, c := range b.calls {\n\t\t\tfrom, to :=", "for i := range b.calls {\n\t\t\tc := b.calls[len(b.calls)-1-i]\n\t\t\tfrom, to :="},
	}, "none", "history G4"},
	{"rights are not asked for before something is written", []edit{
		{"lock/entry.lua", "  permitted()\n  local put", "  local put"},
	}, "rights taken away", "history G9"},
	{"waiting does not end with its context", []edit{
		{"lock/queue.go", "case <-w.ctx.Done():\n\t\tcase <-q.l.closing.Done():", "case <-q.l.closing.Done():"},
	}, "none", "timers G10"},
}

// TestVariantsStand finds variants whose lines are gone: they would no longer break
// anything.
func TestVariantsStand(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		if _, err := v.edited(); err != nil {
			t.Error(err)
		}
	}
}

// A catch is what came of a variant.
type catch struct {
	variant
	by     string // the checks that noticed it; "": not all did
	rounds int
}

// A check that cannot fail proves nothing: each must notice what is broken.
func TestBrokenVariants(t *testing.T) {
	if *durationFlag == 0 {
		t.Skip("takes a -duration, which decides nothing: see make torture")
	}
	keep := t.TempDir()
	catches := make([]catch, len(variants))
	t.Run("all", func(t *testing.T) {
		for i, v := range variants {
			t.Run(v.name+", "+v.check, func(t *testing.T) {
				t.Parallel()
				catches[i] = v.catch(t, filepath.Join(keep, strconv.Itoa(i)))
			})
		}
	})
	publish(t, &report.variants, variantsSection(catches))
}

// catch has processes that are broken work, until all that must notice it have.
func (v variant) catch(t *testing.T, keep string) catch {
	t.Helper()
	binary := v.build(t)
	f := faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == v.fault })]
	missing := strings.Split(v.check, ", ")
	var seen []string
	for n := range 5 {
		seed := uint64(n) + 1
		dir := filepath.Join(keep, strconv.FormatUint(seed, 10))
		found := newRound(t, f, seed, binary, dir).run(shortest)
		for _, x := range found.violations {
			before := len(missing)
			missing = slices.DeleteFunc(missing, x.isBy)
			if len(missing) < before {
				t.Logf("seed %d: %s: %s", seed, x.check, x.text)
				wantKept(t, dir, x)
			}
			seen = append(seen, x.check+": "+x.text)
		}
		if len(missing) == 0 {
			return catch{v, v.check, n + 1}
		}
	}
	t.Errorf("not noticed by %s; instead: %.2000q", strings.Join(missing, ", "), seen)
	return catch{v, "", 5}
}

// isBy tells whether a violation is what a check of that name must notice. A history
// tells that no order makes sense, and not which promise it would have been.
func (x violation) isBy(name string) bool {
	check, promise, _ := strings.Cut(name, " ")
	return strings.HasPrefix(x.check, check) && (check == "history" || strings.Contains(x.check+" ", promise+" "))
}

// wantKept looks for what a violation leaves behind: the journals, what was found,
// and of a history the drawing.
func wantKept(t *testing.T, dir string, x violation) {
	t.Helper()
	left := []string{"violations.txt", "ledger.json", "process-1.jsonl"}
	if x.check == "history" {
		left = append(left, "history-1.html")
	}
	for _, name := range left {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is not kept: %v", name, err)
		}
	}
}

func variantsSection(catches []catch) string {
	var b strings.Builder
	b.WriteString("## Broken variants\n\nThat each check can fail: the processes were built from sources with one thing broken, and worked, under the fault in which it shows, until the check had noticed.\n\n")
	b.WriteString("| what is broken | fault | noticed by | rounds |\n| --- | --- | --- | --: |\n")
	for _, c := range catches {
		if c.by == "" {
			c.by = "**not all of** " + c.check
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d |\n", c.name, c.fault, c.by, c.rounds)
	}
	return b.String()
}

// edited returns the files that are edited, with their texts.
func (v variant) edited() (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range v.edits {
		path, err := filepath.Abs(filepath.Join("..", "..", e.file))
		if err != nil {
			return nil, err
		}
		if _, before := texts[path]; !before {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			texts[path] = string(text)
		}
		if n := strings.Count(texts[path], e.old); n != 1 {
			return nil, fmt.Errorf("variant %q: its line is there %d times in %s, not once: %q. Let the variant follow the code", v.name, n, e.file, e.old)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	return texts, nil
}

// build builds this very test from the edited files.
func (v variant) build(t *testing.T) string {
	t.Helper()
	texts, err := v.edited()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "torture.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
