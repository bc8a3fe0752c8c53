package redistest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRepliesAreReadToTheByte(t *testing.T) {
	for _, test := range []struct {
		name, raw string
		kind      byte
		items     []string
	}{
		{"status", "+OK\r\n", '+', nil},
		{"error", "-ERR no\r\n", '-', nil},
		{"number", ":-1\r\n", ':', nil},
		{"bulk", "$5\r\na\r\nbc\r\n", '$', nil},
		{"empty bulk", "$0\r\n\r\n", '$', nil},
		{"null bulk", "$-1\r\n", '$', nil},
		{"null array", "*-1\r\n", '*', nil},
		{"null", "_\r\n", '_', nil},
		{"truth", "#t\r\n", '#', nil},
		{"double", ",1.5\r\n", ',', nil},
		{"big number", "(3492890328409238509324850943850943825024385\r\n", '(', nil},
		{"bulk error", "!3\r\nERR\r\n", '!', nil},
		{"verbatim", "=7\r\ntxt:abc\r\n", '=', nil},
		{"message", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n", '*', []string{"message", "c", "p"}},
		{"push", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", '>', []string{"subscribe", "c", "1"}},
		{"nested", "*2\r\n*1\r\n$1\r\na\r\n%1\r\n+k\r\n~1\r\n:1\r\n", '*', []string{"", ""}},
		{"map", "%1\r\n+k\r\n+v\r\n", '%', []string{"k", "v"}},
		{"attributes", "|1\r\n+k\r\n+v\r\n*1\r\n+x\r\n", '*', []string{"x"}},
		{"long status", "+" + strings.Repeat("x", 200_000) + "\r\n", '+', nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newFrameReader(iotest.OneByteReader(strings.NewReader(test.raw + "+next\r\n")))
			f, err := r.reply()
			if err != nil {
				t.Fatal(err)
			}
			if string(f.raw) != test.raw || f.kind != test.kind || !slices.Equal(f.items, test.items) {
				t.Errorf("%q: raw %q, kind %q, items %q", test.raw, f.raw, f.kind, f.items)
			}
			if next, err := r.reply(); err != nil || string(next.raw) != "+next\r\n" {
				t.Errorf("what follows: %q, %v", next.raw, err)
			}
			cut := newFrameReader(strings.NewReader(test.raw[:len(test.raw)-1]))
			if _, err := cut.reply(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut short: %v", err)
			}
		})
	}
}

func TestCommandsAreRead(t *testing.T) {
	for raw, want := range map[string][]string{
		"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n": {"GET", "a b"},
		"*1\r\n$4\r\nPING\r\n":             {"PING"},
		"PING hello\r\n":                   {"PING", "hello"},
		"\r\n":                             {},
	} {
		args, got, err := newFrameReader(strings.NewReader(raw)).command()
		if err != nil || string(got) != raw || !slices.Equal(args, want) {
			t.Errorf("%q: args %q, raw %q, %v", raw, args, got, err)
		}
	}
}

func TestWhatIsNotTheProtocolIsRefused(t *testing.T) {
	for _, raw := range []string{
		"x\r\n", "\r\n", "$x\r\n", "$-2\r\n", "$999999999999\r\n", "*-2\r\n", "*99999999\r\n", "\x16\x03\x01\r\n",
		strings.Repeat("*1\r\n", 100),
	} {
		if f, err := newFrameReader(strings.NewReader(raw)).reply(); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: %q, %v", raw, f.raw, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "|1\r\n+k\r\n+v\r\n>1\r\n+x\r\n", "*-1\r\n", "$-1\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		r := newFrameReader(bytes.NewReader(input))
		var read []byte
		for {
			f, err := r.reply()
			if err != nil {
				break
			}
			read = append(read, f.raw...)
		}
		if !bytes.HasPrefix(input, read) {
			t.Fatalf("input %q was read as %q", input, read)
		}
	})
}

func TestSubscriptionsArePairedWithTheirConfirmations(t *testing.T) {
	const (
		subscribed   = "$9\r\nsubscribe\r\n"
		unsubscribed = "$11\r\nunsubscribe\r\n"
	)
	for _, kind := range []string{"*", ">"} {
		p := &pairing{}
		for _, command := range []string{"SUBSCRIBE a b", "UNSUBSCRIBE", "UNSUBSCRIBE", "PING", "SUBSCRIBE c", "INCR n"} {
			p.add(&request{args: strings.Fields(command)})
		}
		for _, step := range []struct {
			reply, answers string // "" answers none
			full           bool
		}{
			{kind + "3\r\n" + subscribed + "$1\r\na\r\n:1\r\n", "SUBSCRIBE", false},
			{kind + "3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n", "", false},
			{kind + "3\r\n" + subscribed + "$1\r\nb\r\n:2\r\n", "SUBSCRIBE", true},
			{kind + "3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n", "", false}, // its slot has moved
			{kind + "3\r\n" + unsubscribed + "$1\r\na\r\n:1\r\n", "UNSUBSCRIBE", false},
			{kind + "3\r\n" + unsubscribed + "$1\r\nb\r\n:0\r\n", "UNSUBSCRIBE", true},
			{kind + "3\r\n" + unsubscribed + "$-1\r\n:0\r\n", "UNSUBSCRIBE", true}, // from nothing
			{"+PONG\r\n", "PING", true},
			{"-NOPERM\r\n", "SUBSCRIBE", true},
			{":1\r\n", "INCR", true},
			{"-ERR out of turn\r\n", "", false},
		} {
			f, err := newFrameReader(strings.NewReader(step.reply)).reply()
			if err != nil {
				t.Fatal(err)
			}
			r, full := p.answers(f)
			if (r == nil) != (step.answers == "") || full != step.full || r != nil && r.args[0] != step.answers {
				t.Fatalf("%q answers %v, in full: %t; want %q, %t", step.reply, r, full, step.answers, step.full)
			}
		}
	}
}
