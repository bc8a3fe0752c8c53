package torture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A variant is lockingworker with one thing broken.
type variant struct {
	name  string
	edits []edit
	fault string // in which it shows
	check string // which check must notice it: what its name begins with, and a promise
}

// An edit replaces a text that stands in a file of the repository.
type edit struct{ file, old, new string }

var variants = []variant{
	{"a settlement's fence is not compared", []edit{
		{"lock/settle.lua", "if j.fence ~= fence or j.how ~= '-' then", "if j.how ~= '-' then"},
	}, "holder paused", "history G5"},
	{"the fence does not grow", []edit{
		{"lock/head.lua", "return format('%016.0f', last >= us and last + 1 or us)", "return meta[2] or format('%016.0f', us)"},
	}, "none", "fences G3"},
	{"the fence does not grow", []edit{
		{"lock/head.lua", "return format('%016.0f', last >= us and last + 1 or us)", "return meta[2] or format('%016.0f', us)"},
	}, "none", "ledger G3"},
	{"fences come from a counter that can be lost", []edit{
		{"lock/head.lua", "return format('%016.0f', last >= us and last + 1 or us)", "return format('%016.0f', last + 1)"},
	}, "redis restarted empty", "intervals G3"},
	{"all claims have one nonce", []edit{
		{"lock/entry.go", "b = appendNonce(b)\n", "b = append(b, \"AAAAAAAAAAA\"...)\n"},
	}, "none", "fences G3"},
	{"all runs have one record", []edit{
		{"lock/entry.go", "len(id.Key), id.Key, len(id.Run), id.Run)", "len(id.Key), id.Key, 1, \"0\")"},
	}, "none", "history G4"},
	{"done is not remembered", []edit{
		{"lock/settle.lua", "j.state = 'd'\n", "j.state = 'f'\n"},
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
	}, "connection slow", "timers G2"},
	{"only messages wake", []edit{
		{"lock/queue.go", "d := min(a.left, probeTime-time.Millisecond)", "d := time.Hour + min(a.left, probeTime-time.Millisecond)"},
	}, "messages lost", "timers G7"},
	{"waiting does not end with its context", []edit{
		{"lock/queue.go", "case <-w.ctx.Done():\n\t\tcase <-q.l.closing.Done():", "case <-q.l.closing.Done():"},
	}, "none", "timers G10"},
}

// A check that cannot fail proves nothing: each must notice what is broken.
func TestBrokenVariants(t *testing.T) {
	if *durationFlag == 0 {
		t.Skip("takes a -duration, which decides nothing: see make torture")
	}
	keep := t.TempDir()
	for _, v := range variants {
		t.Run(v.name+", "+v.check, func(t *testing.T) {
			t.Parallel()
			binary := v.build(t)
			f := faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == v.fault })]
			var seen []string
			for seed := range uint64(5) {
				dir := filepath.Join(keep, strings.NewReplacer(" ", "-", ",", "").Replace(t.Name()), string(rune('1'+seed)))
				found := newRound(t, f, seed+1, binary, dir).run(shortest)
				for _, x := range found.violations {
					if v.notices(x) {
						t.Logf("seed %d: %s: %s", seed+1, x.check, x.text)
						_ = os.RemoveAll(dir)
						return
					}
					seen = append(seen, x.check+": "+x.text)
				}
			}
			t.Errorf("not noticed; instead: %q", seen)
		})
	}
}

func (v variant) notices(x violation) bool {
	check, promise, _ := strings.Cut(v.check, " ")
	return strings.HasPrefix(x.check, check) && (check == "history" || strings.Contains(x.check+" ", promise+" "))
}

// build builds this very test from the edited files.
func (v variant) build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for _, e := range v.edits {
		path, err := filepath.Abs(filepath.Join("..", "..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.old) != 1 {
			t.Fatalf("%s: %q does not stand there once: the variant must follow the code", e.file, e.old)
		}
		replace[path] = filepath.Join(dir, filepath.Base(e.file))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil { //nolint:gosec // in a folder of the test
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
