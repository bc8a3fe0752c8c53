package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		args     []string
		status   int
		outcome  string
		attempts int
		winners  int
	}{
		{"the first attempt succeeds", []string{"-success", "1"}, 0, "completed", 1, 1},
		{"every attempt fails", []string{"-success", "0"}, 3, "exhausted", 5, 0},
		{"every attempt of one fails", []string{"-success", "0", "-max-attempts", "1", "-workers", "1"}, 3, "exhausted", 1, 0},
		{"attempts fail after a delay", []string{"-success", "0", "-retry-delay", "20ms", "-max-attempts", "3"}, 3, "exhausted", 3, 0},
		{"no worker can work", []string{"-lock-timeout", "1ms"}, 1, "broken", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{"-workers", "3", "-work", "10ms"}, tt.args...)...)
			status, s := p.finish()
			if status != tt.status || s.outcome != tt.outcome || s.attempts != tt.attempts || s.executions != tt.attempts {
				t.Errorf("exit status %d, %+v", status, s)
			}
			if completed := count(p.output(), "completed work successfully"); completed != tt.winners || (s.winner != 0) != (tt.winners == 1) {
				t.Errorf("%d workers completed the work, winner %d", completed, s.winner)
			}
			if s.redis != "embedded" {
				t.Errorf("redis=%s", s.redis)
			}
		})
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	const password = "open/#sesame"
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"unknown", []string{"-worker", "3"}, 2, "-worker"},
		{"an argument", []string{"8"}, 2, `"8"`},
		{"no workers", []string{"-workers", "0"}, 2, "-workers 0"},
		{"more than certain", []string{"-success", "15"}, 2, "-success 15"},
		{"not a chance", []string{"-success", "NaN"}, 2, "-success NaN"},
		{"kill the last but none", []string{"-kill", "-1"}, 2, "-kill -1"},
		{"no level", []string{"-status", "loud"}, 2, "loud"},
		{"no URL", []string{"-redis", "redis://u:" + password + "@127.0.0.1:1"}, 1, "want redis://"},
		{"nobody answers", []string{"-redis", "redis://u:sesame@127.0.0.1:1"}, 1, "redis at 127.0.0.1:1"},
		{"help", []string{"-help"}, 0, "-lock-timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, tt.args...)
			<-p.ended
			<-p.gone
			if status := p.cmd.ProcessState.ExitCode(); status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			if !strings.Contains(p.stderr(), tt.want) || strings.Contains(p.stderr(), "sesame") {
				t.Errorf("standard error:\n%s", p.stderr())
			}
		})
	}
}

func TestLinesAreThoseOfTheSeed(t *testing.T) {
	t.Parallel()
	p := start(t, "-workers", "3", "-success", "0", "-max-attempts", "2", "-work", "1s") // so that all have begun
	if status, _ := p.finish(); status != 3 {
		t.Errorf("exit status %d", status)
	}
	for pattern, want := range map[string]int{
		`^Worker \d failed to do work$`:                                                                         2,
		`^Worker \d Status message from lock: This is attempt #2$`:                                              1,
		`^Worker \d Status message from lock: Exceeded maximum attempts, giving up!$`:                           3,
		`^Worker \d gives up: .*no luck this time$`:                                                             3,
		`^Worker \d Status message from lock: Work was not completed, trying to reacquire lock for attempt #1$`: 2,
	} {
		if n := count(p.output(), pattern); n < want {
			t.Errorf("%d lines %s, want %d", n, pattern, want)
		}
	}
	for _, pattern := range []string{
		`^Worker \d did not acquire lock$`,
		`^Worker \d Status message from lock: Checking status of work from attempt #1$`,
	} {
		if count(p.output(), pattern) == 0 {
			t.Errorf("no line %s", pattern)
		}
	}

	p = start(t, "-workers", "2", "-success", "1", "-status", "silent")
	if status, s := p.finish(); status != 0 {
		t.Errorf("exit status %d", status)
	} else if line := fmt.Sprintf("^Worker %d completed work successfully, last attempt. false$", s.winner); count(p.output(), line) != 1 {
		t.Errorf("no line %s", line)
	}
	if n := count(p.output(), "Status message"); n != 0 {
		t.Errorf("%d status messages at level silent", n)
	}
}

// A seed decides which attempt succeeds; which worker makes it, it does not.
func TestSeedIsRepeatable(t *testing.T) {
	t.Parallel()
	attempts := map[int]int{}
	for _, seed := range []int{1, 2, 3} { // 0 is a new one each time
		for range 2 {
			_, s := start(t, "-workers", "2", "-work", "1ms", "-success", "0.4", "-max-attempts", "9", "-seed", fmt.Sprint(seed)).finish()
			if before, ok := attempts[seed]; ok && before != s.attempts {
				t.Errorf("seed %d: %d attempts, and then %d", seed, before, s.attempts)
			}
			attempts[seed] = s.attempts
		}
	}
	if attempts[1] == attempts[2] && attempts[2] == attempts[3] {
		t.Errorf("attempts of all seeds: %d", attempts[1])
	}
}

func TestChanceIsThatOfTheFlag(t *testing.T) {
	t.Parallel()
	const seeds, attempts = 2000, 5
	succeeded := 0
	for seed := range uint64(seeds) {
		for attempt := range attempts {
			if lucky(seed, attempt+1, 0.15) {
				succeeded++
			}
		}
	}
	if share := float64(succeeded) / (seeds * attempts); share < 0.13 || share > 0.17 {
		t.Errorf("%.3f of all attempts succeed", share)
	}
}

// Each run has a job of its own, so runs on one server do not notice one another.
func TestRunsOnOneServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	var runs []*program
	for range 3 {
		runs = append(runs, start(t, "-workers", "3", "-success", "0", "-redis", server.URL()))
	}
	for _, p := range runs {
		status, s := p.finish()
		if status != 3 || s.attempts != 5 || s.executions != 5 || s.redis != server.Addr() {
			t.Errorf("exit status %d, %+v", status, s)
		}
	}
}

// Two runs with one key are like two machines of one cluster.
func TestRunsWithOneKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own)
	args := []string{"-workers", "3", "-success", "1", "-key", "shared", "-redis", server.URL()}
	executions, winners := 0, 0
	for _, p := range []*program{start(t, args...), start(t, args...)} {
		status, s := p.finish()
		if status != 0 || s.outcome != "completed" || s.attempts != 1 {
			t.Errorf("exit status %d, %+v", status, s)
		}
		executions += s.executions
		if s.winner != 0 {
			winners++
		}
	}
	if executions != 1 || winners != 1 {
		t.Errorf("%d executions, %d winners", executions, winners)
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Own, redistest.User("app on >sesame ~* &* +@all"))
	url := strings.Replace(server.URL(), "redis://", "redis://app:sesame@", 1)
	p := command(t, "-workers", "2", "-success", "1")
	p.cmd.Env = append(p.cmd.Env, "REDIS_URL="+url)
	p.begin()
	if status, s := p.finish(); status != 0 || s.redis != server.Addr() {
		t.Errorf("exit status %d, %+v", status, s)
	}
	if text := strings.Join(p.output(), "\n") + p.stderr(); regexp.MustCompile("sesame").MatchString(text) {
		t.Errorf("the password was printed")
	}
}
