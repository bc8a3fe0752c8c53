package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// RunAll has all jobs of a sequence done, by this worker or by others that are at them or were before:
// Config.Concurrency at a time here, each by the rules of [Worker.Run]. It claims, keeps and
// settles jobs in collections, and gives back in collections what it will not begin, so that thousands of
// them cost few round trips.
//
//   - The sequence may be endless, and slow: what it has yielded is begun at once. RunAll runs ahead of
//     it by 4,096 jobs at most, and claims them in no order, so that many processes with one sequence
//     begin at different places.
//   - A job that another has, or that is too early, is claimed again later: after 10 ms, and twice as
//     long each time, up to 5 s, but not later than the other's lease ends.
//   - What is claimed ahead is as many jobs as will begin while a claim is on its way: none, but for very
//     short ones. What is not begun within a second, or half of Config.TTL, is given back, uncounted.
//   - A job that the sequence yields again waits for the one before with its key, whatever the run: the
//     same run is then done already, another one's turn has come.
//
// It needs a Redis that answers within a sixth of Config.TTL, and within half a second. A claim that takes
// longer is given back, uncounted, and made again; where all do, nothing is begun. A node of a Cluster that
// does not answer delays, each time by a claim's second, jobs of other nodes that have failed before.
//
// A process that dies leaves what it had begun: Config.Concurrency works, and at most four times as many
// whose end was being recorded. Others do that again, and nothing else.
//
// Handlers.OnResult is told of every job that was taken from the sequence, and the Summary counts it.
// The error is nil if and only if the sequence has ended and each job is done; otherwise it is an
// *UnfinishedError. A job that is exhausted, or held for longer than Config.MaxWait, or whose name is
// too long, or whose lock in Redis is not ours, does not keep the others from being done. What would be
// the same for each ends RunAll: a wrong password, a missing right, a Locker that is closed.
//
// When ctx ends, so do the works' contexts; whatever has not begun is given back. RunAll returns only
// after all works, the sequence and the handlers have returned: a sequence that waits should look at ctx
// itself. It runs on the caller's goroutine, so that its panic is the caller's.
func (w *Worker) RunAll(ctx context.Context, jobs iter.Seq[Job], work Func) (Summary, error) {
	var errs []error
	if ctx == nil {
		errs = append(errs, invalid("ctx is nil"))
	}
	if jobs == nil {
		errs = append(errs, invalid("jobs is nil"))
	}
	if work == nil {
		errs = append(errs, invalid("work is nil"))
	}
	if len(errs) > 0 {
		return Summary{}, errors.Join(errs...)
	}
	p := newPool(ctx, w, work)
	p.feed(jobs)
	return p.summary, p.result()
}

// feed hands the sequence over. When it returns, everything has ended.
func (p *pool) feed(jobs iter.Seq[Job]) {
	ended, passed := make(chan struct{}), p.jobs
	go func() {
		defer close(ended)
		p.run()
	}()
	whole := false
	defer func() {
		if !whole {
			p.stop(errSequence) // unless it was stopped, and that was why
		}
		close(passed)
		<-ended
		for job := range passed { // too late for the pool
			p.take(job)
		}
		p.interrupt()
		p.caller.close()
		p.stop(nil)
	}()
	for job := range jobs {
		if !p.put(job, passed) {
			return
		}
	}
	whole = true
}

// errSequence is with what the works end where the sequence has not returned but panicked.
var errSequence = errors.New("worker: the sequence of jobs did not return")

// put hands a job over, as soon as there is room for it; false if no more are wanted.
func (p *pool) put(job Job, to chan<- Job) bool {
	if p.ctx.Err() != nil {
		return false
	}
	select {
	case to <- job:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// UnfinishedError says that not all jobs of a RunAll are done. errors.Is and errors.As look into the
// first error of each outcome, and into why RunAll ended before its sequence.
type UnfinishedError struct {
	Summary Summary
	Cause   error // why RunAll ended before its sequence did; nil if it did not

	first [len(outcomes)]error // by outcome
}

// Error counts the jobs, and has the first error of each kind.
func (e *UnfinishedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker: RunAll: %d of %d jobs done", e.Summary.Done(), e.Summary.Jobs())
	if e.Summary.Jobs() > 0 {
		fmt.Fprintf(&b, " (%v)", e.Summary)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ", and ended before its sequence: %v", e.Cause)
	}
	for outcome, err := range e.first {
		if err != nil && Outcome(outcome) != Interrupted {
			fmt.Fprintf(&b, "; first %v: %v", Outcome(outcome), err)
		}
	}
	return b.String()
}

// Unwrap returns the cause and the first error of each outcome.
func (e *UnfinishedError) Unwrap() []error {
	var errs []error
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, err := range e.first {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
