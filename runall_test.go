package lockingworker_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// jobs are those of a process that runs many.
func (s spec) jobs() iter.Seq[worker.Job] {
	return func(yield func(worker.Job) bool) {
		for i := range s.Jobs {
			if !yield(worker.Job{Key: fmt.Sprintf("job-%d", i), Run: worker.Once(s.Run)}) {
				return
			}
		}
	}
}

// runAll is RunAll; each work appends a line to the file and takes a few milliseconds more.
func (p *process) runAll(ctx context.Context) error {
	file, err := os.OpenFile(p.spec.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	tell(step{Name: "begun"})
	summary, err := p.worker.RunAll(ctx, p.spec.jobs(), func(_ context.Context, a worker.Attempt) error {
		_, err := fmt.Fprintf(file, "%s %s\n", a.Job.Key, p.spec.Owner) // one write, which the system makes whole
		time.Sleep(3 * time.Millisecond)
		return err
	})
	result := failure("result", err)
	result.Holder, result.Attempt = summary.String(), summary.Done()
	tell(result)
	return nil
}

// works reads who worked on each job, in order, once the file has at least so many lines.
func works(t *testing.T, file string, least int) map[string][]string {
	t.Helper()
	for limit := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if lines := strings.Fields(string(text)); len(lines)/2 >= least {
			by := make(map[string][]string)
			for pair := range slices.Chunk(lines, 2) {
				by[pair[0]] = append(by[pair[0]], pair[1])
			}
			return by
		}
		if time.Now().After(limit) {
			t.Fatalf("not %d works within %v", least, bound)
		}
	}
}

// Many processes are given the same jobs. Some of them are killed: what they had begun is done again, by others, and
// nothing else is.
func TestProcessesShareTheirJobs(t *testing.T) {
	for _, killed := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d killed", killed), func(t *testing.T) {
			t.Parallel()
			const jobs, processes = 600, 6
			const unrecorded = 5 * worker.DefaultConcurrency // what a process has begun at most, and has not recorded
			b := newBench(t, short, 5)
			b.spec.Jobs, b.spec.File = jobs, filepath.Join(t.TempDir(), "works")
			cs := startAll(b, processes)
			for i, c := range cs[:killed] {
				works(t, b.spec.File, jobs*(i+1)/4)
				c.kill()
			}
			for _, c := range cs[killed:] {
				if s := c.await("result"); s.Attempt != jobs || s.Text != "" {
					t.Errorf("process %d: %+v", c.number, s)
				}
			}
			by := works(t, b.spec.File, jobs)
			repeated := 0
			for key, owners := range by {
				repeated += len(owners) - 1
				for _, owner := range owners[:len(owners)-1] { // whose work was not the last
					if !slices.ContainsFunc(cs[:killed], func(c *contender) bool { return owner == fmt.Sprintf("process-%d", c.number) }) {
						t.Errorf("%s was worked on by %v, and %s was not killed", key, owners, owner)
					}
				}
			}
			if len(by) != jobs || repeated > killed*unrecorded {
				t.Errorf("%d jobs were worked on, %d works were repeated", len(by), repeated)
			}
			checkDone(t, newLocker(t, b), b.spec, by)
		})
	}
}

// checkDone fails the test unless each job is recorded as done, with as many attempts as there were works at least: a
// killed process may have been granted what it had not begun.
func checkDone(t *testing.T, l *lock.Locker, s spec, by map[string][]string) {
	t.Helper()
	var ids []lock.JobID
	for job := range s.jobs() {
		ids = append(ids, lock.JobID{Key: job.Key, Run: job.Run.Name})
	}
	infos, err := l.Jobs().Get(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.State != lock.JobDone || info.Attempt < len(by[info.ID.Key]) {
			t.Errorf("%+v, worked on by %v", info, by[info.ID.Key])
		}
	}
}
