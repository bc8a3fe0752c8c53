package status_test

import (
	"encoding"
	"encoding/json"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/status"
)

var (
	_ flag.Value               = (*status.Level)(nil)
	_ encoding.TextMarshaler   = status.Normal
	_ encoding.TextUnmarshaler = (*status.Level)(nil)
)

var levelNames = map[status.Level]string{
	status.Silent:  "silent",
	status.Normal:  "normal",
	status.Verbose: "verbose",
}

func TestZeroLevelIsNormal(t *testing.T) {
	var level status.Level
	if level != status.Normal {
		t.Errorf("the zero level is %v", level)
	}
}

func TestLevelEnabled(t *testing.T) {
	const below, above = status.Silent - 1, status.Verbose + 1
	for _, tt := range []struct {
		configured, at status.Level
		want           bool
	}{
		{status.Silent, status.Silent, false},
		{status.Silent, status.Normal, false},
		{status.Silent, status.Verbose, false},
		{status.Normal, status.Silent, false},
		{status.Normal, status.Normal, true},
		{status.Normal, status.Verbose, false},
		{status.Verbose, status.Silent, false},
		{status.Verbose, status.Normal, true},
		{status.Verbose, status.Verbose, true},
		{status.Verbose, above, false},
		{status.Verbose, below, false},
		{below, below, false},
	} {
		if got := tt.configured.Enabled(tt.at); got != tt.want {
			t.Errorf("%v.Enabled(%v) = %v", tt.configured, tt.at, got)
		}
	}
}

func TestLevelTextRoundTrip(t *testing.T) {
	for level, name := range levelNames {
		if got := level.String(); got != name {
			t.Errorf("String of %s is %q", name, got)
		}
		for _, text := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got, err := status.ParseLevel(text); got != level || err != nil {
				t.Errorf("ParseLevel(%q) = %v, %v", text, got, err)
			}
		}

		type config struct{ Status status.Level }
		encoded, err := json.Marshal(config{level})
		if want := `{"Status":"` + name + `"}`; string(encoded) != want || err != nil {
			t.Errorf("JSON is %s, %v; want %s", encoded, err, want)
		}
		decoded := config{status.Verbose}
		if err := json.Unmarshal(encoded, &decoded); decoded.Status != level || err != nil {
			t.Errorf("%s comes back as %v, %v", encoded, decoded.Status, err)
		}
	}
}

func TestLevelFlag(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want status.Level
		ok   bool
	}{
		{nil, status.Verbose, true},
		{[]string{"-status", "silent"}, status.Silent, true},
		{[]string{"-status=NORMAL"}, status.Normal, true},
		{[]string{"-status=loud"}, status.Verbose, false},
		{[]string{"-status="}, status.Verbose, false},
	} {
		level := status.Verbose
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Var(&level, "status", "how much to report")
		if err := flags.Parse(tt.args); (err == nil) != tt.ok {
			t.Errorf("%q: error %v", tt.args, err)
		}
		if level != tt.want {
			t.Errorf("%q sets %v, want %v", tt.args, level, tt.want)
		}
	}
}

func TestInvalidLevel(t *testing.T) {
	for level, name := range map[status.Level]string{
		status.Silent - 1:  "Level(-2)",
		status.Verbose + 1: "Level(2)",
	} {
		if got := level.String(); got != name {
			t.Errorf("String is %q, want %q", got, name)
		}
		if text, err := level.MarshalText(); err == nil {
			t.Errorf("%s marshals to %q", name, text)
		}
	}
}

func FuzzParseLevel(f *testing.F) {
	for _, text := range []string{"silent", "Normal", "VERBOSE", "", " normal", "normal\n", "Level(0)", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		level, err := status.ParseLevel(text)
		if err == nil {
			if !strings.EqualFold(text, levelNames[level]) {
				t.Errorf("ParseLevel(%q) = %v", text, level)
			}
			return
		}
		if level != status.Normal {
			t.Errorf("ParseLevel(%q) fails with %v", text, level)
		}
		for known, name := range levelNames {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("error does not name %s: %v", name, err)
			}
			if strings.EqualFold(text, name) {
				t.Errorf("ParseLevel(%q): %v", text, err)
			}
			if kept := known; kept.Set(text) == nil || kept != known {
				t.Errorf("Set(%q) turns %v into %v", text, known, kept)
			}
		}
	})
}
