package lock

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// changes is an unlock of resources whose first end is known.
func changes(first string, names ...string) *call {
	c := &call{script: unlockScript, kin: "change", until: time.Minute, args: []any{"0", first, ""}, names: names}
	for _, n := range names {
		c.texts = append(c.texts, "entry of "+n)
	}
	return c
}

// A bundle's arguments are those of its calls in their order, column by column;
// of what holds for all of them, the least.
func TestBundleArguments(t *testing.T) {
	all := bundles([]*call{changes("00000000000300", "a", "b"), changes("00000000000100", "c"), changes("00000000000200", "a"), changes("00000000000400", "d")}, 0)
	if len(all) != 2 || len(all[0].calls) != 3 || len(all[1].calls) != 1 {
		t.Fatalf("bundles are %+v", all)
	}
	var got []string
	for _, arg := range all[0].args(nil) {
		if p, ok := arg.(*string); ok {
			arg = *p
		}
		got = append(got, fmt.Sprint(arg))
	}
	want := []string{"0", "00000000000100", "", "a", "b", "c", "d", "entry of a", "entry of b", "entry of c", "entry of d"}
	if !slices.Equal(got, want) {
		t.Errorf("arguments are %q, want %q", got, want)
	}
}

// Each call of a bundle gets the notes about its own resources, under its own
// numbers.
func TestBundleReply(t *testing.T) {
	all := bundles([]*call{changes("0", "a", "b"), changes("0", "c"), changes("0", "d", "e")}, 0)
	for _, test := range []struct {
		reply []any
		want  [][]any
	}{
		{[]any{"ok", "1"}, [][]any{{"ok", "1"}, {"ok", "1"}, {"ok", "1"}}},
		{[]any{"late", "1"}, [][]any{{"late", "1"}, {"late", "1"}, {"late", "1"}}},
		{
			[]any{"ok", "1", "5", "of e", "1", "of a", "3", "of c", "2", "of b"},
			[][]any{{"ok", "1", "1", "of a", "2", "of b"}, {"ok", "1", "1", "of c"}, {"ok", "1", "2", "of e"}},
		},
		{[]any{"ok", "1", "6", "nobody's", "0", "nobody's", "x", "nobody's", "3"}, [][]any{{"ok", "1"}, {"ok", "1"}, {"ok", "1"}}},
	} {
		all[0].share(test.reply)
		for i, c := range all[0].calls {
			if !slices.Equal(c.reply, test.want[i]) {
				t.Errorf("of %q call %d gets %q, want %q", test.reply, i, c.reply, test.want[i])
			}
		}
	}
}

// A call that was sent before travels alone, and so does one with other
// arguments, of another shard, or beyond what a script takes.
func TestBundleOfUnequals(t *testing.T) {
	plain := func() *call { return changes("0", "a") }
	for name, c := range map[string]*call{
		"sent before":    {script: unlockScript, kin: "change", args: []any{"0", "0", ""}, names: []string{"b"}, began: 1},
		"dated":          {script: unlockScript, kin: "change", args: []any{int64(7), "0", ""}, names: []string{"b"}},
		"another shard":  {script: unlockScript, kin: "change", shard: 1, args: []any{"0", "0", ""}, names: []string{"b"}},
		"another script": {script: extendScript, kin: "change", args: []any{"0", "0", ""}, names: []string{"b"}},
		"a not-after":    {script: unlockScript, kin: "change", once: true, args: []any{"0", "0", ""}, names: []string{"b"}},
		"alone":          {script: unlockScript, args: []any{"0", "0", ""}, names: []string{"b"}},
		"too many":       {script: unlockScript, kin: "change", args: []any{"0", "0", ""}, names: make([]string, chunk)},
		"little time":    {script: unlockScript, kin: "change", until: gatePatience / 2, args: []any{"0", "0", ""}, names: []string{"b"}},
	} {
		if c.until == 0 {
			c.until = time.Minute
		}
		if n := len(bundles([]*call{plain(), c}, 0)); n != 2 {
			t.Errorf("%s: %d bundles", name, n)
		}
		if n := len(bundles([]*call{c, plain()}, 0)); n != 2 {
			t.Errorf("%s first: %d bundles", name, n)
		}
	}
}
