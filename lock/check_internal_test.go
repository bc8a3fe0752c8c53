package lock

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commandsOf are the commands that a script's source calls. Each stands as a word
// in the call, but in entry.lua's flush, whose write and remove take it.
var commandsOf = regexp.MustCompile(`(?:redis\.p?call|write|remove|put|permit)\('([A-Za-z]+)'`)

// TestRightsAreThoseOfTheScripts: the list that Check and the documentation go by
// names exactly what the scripts call, and beside it what Go sends by itself.
func TestRightsAreThoseOfTheScripts(t *testing.T) {
	t.Parallel()
	ofScripts := map[string]bool{}
	for _, s := range []*script{
		lockScript, unlockScript, extendScript, renewScript, ownersScript, claimScript, pickScript,
		settleScript, leaveScript, sweepScript, getScript, scanScript, resetScript, {name: "mark", source: markLua},
	} {
		for _, call := range commandsOf.FindAllStringSubmatch(s.source, -1) {
			ofScripts[strings.ToLower(call[1])] = true
		}
		for line := range strings.Lines(s.source) {
			dynamic := regexp.MustCompile(`redis\.p?call\([^']`).MatchString(line)
			if dynamic && !strings.Contains(line, "redis.call(command, key") && !strings.Contains(line, "not may(...) then redis.call(...)") {
				t.Errorf("%s calls what this test cannot see: %s", s.name, line)
			}
		}
	}
	ofGo := []string{
		"eval", "evalsha", "set", "get", "hsetnx", "subscribe", "unsubscribe", // failure.go, flight.go, wire.go
		"wait",                                                // replicas.go
		"hello", "ping", "cluster|slots", "asking", "command", // go-redis
	}
	listed := map[string]bool{}
	for _, r := range rights {
		if listed[r.command] {
			t.Errorf("%s is listed twice", r.command)
		}
		listed[r.command] = true
	}
	want := slices.Sorted(slices.Values(append(ofGo, slices.Collect(maps.Keys(ofScripts))...)))
	if got := slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
		t.Errorf("the rights are\n%v, want\n%v", got, want)
	}
	if len(ofScripts) < 10 {
		t.Errorf("found in the scripts: %v", ofScripts)
	}
}

// TestEveryCodeIsDocumented: programs go by them.
func TestEveryCodeIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## The codes of Check")
	codes := 0
	for _, file := range []string{"check.go", "check_server.go", "check_rights.go", "check_keys.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile(`Finding\{Severity\w+, "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
			codes++
			if !strings.Contains(table, "`"+code[1]+"`") {
				t.Errorf("docs/operations.md does not have %q", code[1])
			}
		}
	}
	if codes < 20 {
		t.Errorf("found %d codes", codes)
	}
}

func TestVersionsCompare(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{
		"6.0.16": true, "5.0": true, "6.1.241": true, "6.2.0": false, "6.2": false, "7.0.15": false, "10.0.0": false,
		"255.255.255": false, "": false, "x": false, "6": false,
	} {
		if before(version, 6, 2) != old {
			t.Errorf("%q is older than 6.2: %v", version, !old)
		}
	}
}

func TestACLNamesTheNamespaceAlone(t *testing.T) {
	t.Parallel()
	one, cluster := aclOf("app", false), aclOf("app", true)
	if !strings.HasPrefix(one, "~{app:* ~{app}:shards &app:* +") || strings.Contains(one, "@") || strings.Contains(one, "cluster|") {
		t.Errorf("one server: %s", one)
	}
	if !strings.HasPrefix(cluster, "~{app:* ") || !strings.Contains(cluster, " +cluster|slots") {
		t.Errorf("Cluster: %s", cluster)
	}
}
