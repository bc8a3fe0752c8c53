package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	nameRunAll = "RunAll"
	nameRun    = "Run, one by one"

	poolProcesses = 16
	poolRepeated  = "done twice"
	poolElapsed   = "elapsed"
	poolTrips     = "round trips"
	poolCommands  = "server time"
)

// pools have 16 processes do the same jobs.
func pools(ctx context.Context, b *bench, id string) error {
	jobs := pick(b, 10_000, 1_000)
	contenders := []library{{name: nameRunAll}, {name: nameRun}, {name: nameRedislock, module: moduleRedislock}}
	err := b.alternate(ctx, contenders, func(l library) error {
		return b.pool(ctx, id, poolSpec{Contender: l.name, Jobs: jobs, TTL: 5 * time.Second}, 0)
	})
	if err != nil {
		return err
	}
	r := b.report
	for _, other := range []string{nameRun, nameRedislock} {
		for _, metric := range []string{poolElapsed, poolTrips} {
			r.atLeast(id, metric+", "+other+" to RunAll", 5, r.median(id, size(jobs), metric, other)/r.median(id, size(jobs), metric, nameRunAll))
		}
	}
	return nil
}

// killedPools are the same with RunAll alone, and three of the processes are killed on the way.
func killedPools(ctx context.Context, b *bench, id string) error {
	for range b.rounds {
		if err := b.server.empty(ctx); err != nil {
			return err
		}
		s := poolSpec{Contender: nameRunAll, Jobs: pick(b, 10_000, 2_000), TTL: time.Second, Pause: 2 * time.Millisecond}
		if err := b.pool(ctx, id, s, 3); err != nil {
			return err
		}
	}
	return nil
}

// pool has the processes do the jobs, kills some, and checks what was done.
func (b *bench) pool(ctx context.Context, id string, s poolSpec, kill int) (err error) {
	folder, err := os.MkdirTemp("", "lockbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s.File, s.Addr = filepath.Join(folder, "done"), b.server.addr
	members := make([]*poolMember, poolProcesses)
	defer func() {
		for _, m := range members {
			if m != nil {
				m.kill()
			}
		}
	}()
	for i := range members {
		s.Number = i
		if members[i], err = startMember(s); err != nil {
			return err
		}
	}
	for _, m := range members {
		if err := m.ready(); err != nil {
			return err
		}
	}
	served, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	for _, m := range members {
		if err := m.begin(); err != nil {
			return err
		}
	}
	for i, m := range members[:kill] { // while a fifth, two fifths and three fifths are done
		if err := awaitLines(ctx, s.File, s.Jobs*(i+1)/5); err != nil {
			return err
		}
		m.kill()
	}
	trips := 0
	for _, m := range members[kill:] {
		report, err := m.report()
		if err != nil {
			return err
		}
		trips += report.Trips
	}
	took := time.Since(began)
	after, err := b.server.cpu(ctx)
	if err != nil {
		return err
	}
	r := b.report
	n := size(s.Jobs)
	r.add(id, n, poolElapsed, "ms", s.Contender, millis(took))
	r.add(id, n, poolTrips, "", s.Contender, float64(trips))
	r.add(id, n, poolCommands, "ms", s.Contender, millis(after-served))
	return b.checkPool(id, s, kill)
}

// checkPool counts in the file how often each job was done. Only a killed process's may have been repeated, and not more
// than it worked on at a time.
func (b *bench) checkPool(id string, s poolSpec, killed int) error {
	text, err := os.ReadFile(filepath.Clean(s.File))
	if err != nil {
		return err
	}
	by := make(map[string][]int) // the processes that did a job
	for line := range strings.Lines(string(text)) {
		var key string
		var number, attempt int
		if _, err := fmt.Sscan(line, &key, &number, &attempt); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		by[key] = append(by[key], number)
	}
	repeated := 0
	for key, numbers := range by {
		repeated += len(numbers) - 1
		for _, number := range numbers[:len(numbers)-1] { // whose work was not the last
			if number >= killed {
				b.report.breaksf(id, "%s: %s was done by processes %v, of which %d lived", s.Contender, key, numbers, number)
			}
		}
	}
	b.report.add(id, size(s.Jobs), poolRepeated, "jobs", s.Contender, float64(repeated))
	if len(by) != s.Jobs {
		b.report.breaksf(id, "%s: %d of %d jobs were done", s.Contender, len(by), s.Jobs)
	}
	if most := killed * 5 * poolConcurrency; repeated > most { // a fifth at work, the others being recorded
		b.report.breaksf(id, "%s: %d works were repeated, but the killed processes had begun %d at most", s.Contender, repeated, most)
	}
	return nil
}

// awaitLines waits until a file has so many lines.
func awaitLines(ctx context.Context, file string, n int) error {
	for {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return err
		}
		if strings.Count(string(text), "\n") >= n {
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// A poolMember is a process of a pool, from outside.
type poolMember struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startMember(s poolSpec) (*poolMember, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	m := &poolMember{cmd: exec.Command(os.Args[0])}
	m.cmd.Env = append(os.Environ(), poolVariable+"="+string(text))
	m.cmd.Stderr = os.Stderr
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.stdout = bufio.NewReader(stdout)
	return m, m.cmd.Start()
}

func (m *poolMember) ready() error {
	line, err := m.stdout.ReadString('\n')
	if err != nil || line != poolReady {
		return fmt.Errorf("a process says %q: %w", line, err)
	}
	return nil
}

func (m *poolMember) begin() error {
	_, err := m.stdin.Write([]byte{'\n'})
	return err
}

func (m *poolMember) report() (poolReport, error) {
	var r poolReport
	if err := json.NewDecoder(m.stdout).Decode(&r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// kill ends a process at once, if it has not ended.
func (m *poolMember) kill() {
	if m.cmd.ProcessState == nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
}
