package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Settle ends attempts: each releases its lock, is remembered and hands over,
// in one step. One result per settlement, in order; the error is nil only if
// each was settled. An attempt that is not the run's any more, or whose lease
// has run out, has ErrLeaseLost, and nothing is changed. If a reply was lost,
// Settle asks again, until ctx ends: then it is ErrOutcomeUnknown. After
// ErrNotReplicated it is settled, and the same Settle asks once more whether
// replicas have it. What is kept may be settled by its lease, as JobLease.Settle does.
func (j Jobs) Settle(ctx context.Context, settlements ...Settlement) (rs Results, err error) {
	l := j.l
	ctx, end := l.trace(ctx, "Jobs.Settle", len(settlements))
	defer func() { end(rs, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	settlements = slices.Clone(settlements)
	for i := range settlements {
		settlements[i].begin()
	}
	rs = make(Results, len(settlements))
	seen := make(map[string]struct{}, len(settlements))
	for i, s := range settlements {
		rs[i] = Result{Resource: s.ID.Key, Err: s.check()}
		if _, twice := seen[s.ID.Key]; twice && rs[i].Err == nil {
			rs[i].Err = invalid("Settlement[%d].ID.Key %q stands twice in the call", i, s.ID.Key)
		}
		seen[s.ID.Key] = struct{}{}
	}
	batches := l.jobBatches(len(settlements), settleScript,
		func(i int) bool { return rs[i].Err != nil },
		func(i int) string { return settlements[i].ID.Key },
		func(i int) []any { return settlements[i].args() })
	l.execJobs(ctx, batches)
	for _, b := range batches {
		c := b.call
		err := l.outcome(ctx, c)
		if err != nil && (c.state.Load() == callLeft || c.unanswered) {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		for k, i := range b.index {
			switch c.status(err, 2+k) {
			case "settled", "again":
				rs[i].Err = c.short
			case "":
				rs[i].Err = err
			case "gone":
				rs[i].Err = ErrLeaseLost
				if c.unanswered { // the record may be gone because of us, or not
					rs[i].Err = fmt.Errorf("%w: the run's record is gone", ErrOutcomeUnknown)
				}
			case "lost":
				rs[i].Err = ErrLeaseLost
			default:
				rs[i].Err = fmt.Errorf("%w: lock or job %q", ErrCorruptState, settlements[i].ID.Key)
			}
		}
	}
	for i := range rs {
		s := settlements[i]
		s.finish(rs[i].Err)
		if rs[i].Err == nil {
			l.observe(Event{Kind: EventUnlock, Resource: s.ID.Key, Owner: s.Grant.Owner, Fence: s.Grant.Fence, Held: s.held})
		}
	}
	return rs, rs.err("Jobs.Settle")
}

// begin fills in what is kept: from now on a renewal that finds nothing ends nothing.
func (s *Settlement) begin() {
	if s.Lease != nil {
		le := s.Lease.lease
		le.l.keeper.releasing(le)
		s.Grant, s.ID, s.held = s.Lease.grant, s.Lease.job.ID, le.l.now()-le.began
	}
}

// finish ends the lease, if there is one, and it is known how.
func (s *Settlement) finish(err error) {
	switch {
	case s.Lease == nil:
	case err == nil:
		s.Lease.lease.l.keeper.end(s.Lease.lease, ErrReleased)
	case errors.Is(err, ErrLeaseLost):
		s.Lease.lease.l.keeper.end(s.Lease.lease, ErrLeaseLost)
	}
}

func (s *Settlement) check() error {
	errs := []error{s.ID.check("Settlement.ID")}
	if s.Grant.Fence <= 0 {
		errs = append(errs, invalid("Settlement.Grant.Fence %d: settle what was granted", s.Grant.Fence))
	}
	if s.End < Done || s.End > Returned {
		errs = append(errs, invalid("Settlement.End %d: want Done, Failed, Exhausted or Returned", s.End))
	}
	if s.Delay < 0 || s.Delay == NoExpiry {
		errs = append(errs, invalid("Settlement.Delay %v", s.Delay))
	}
	if s.Retention < 0 {
		errs = append(errs, invalid("Settlement.Retention %v is negative", s.Retention))
	}
	return errors.Join(errs...)
}

var endCodes = [...]string{Done: "d", Failed: "f", Exhausted: "x", Returned: "r"}

func (s *Settlement) args() []any {
	return []any{
		jobPlace(s.ID), s.ID.Key, fenceText(s.Grant.Fence), endCodes[s.End],
		int64(s.Delay / time.Millisecond), millis(s.Retention), cut(s.Cause),
	}
}

// cut shortens a cause to MaxCause bytes, between characters.
func cut(s string) string {
	if len(s) <= MaxCause {
		return s
	}
	n := MaxCause
	for n > MaxCause-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// A JobLease is an attempt that was granted and is kept until it is settled.
type JobLease struct {
	lease *Lease
	grant Result
	job   JobInfo
}

// Context returns a context with the values of the one that was waited with, but
// not its end. It ends with the attempt: with the cause ErrLeaseLost,
// ErrReleased (settled) or ErrClosed.
func (jl *JobLease) Context() context.Context { return jl.lease.ctx }

// Grant returns what was granted.
func (jl *JobLease) Grant() Result { return jl.grant }

// Job returns the run as it was when the attempt was granted; its Attempt is
// this attempt's number.
func (jl *JobLease) Job() JobInfo { return jl.job }

// Deadline returns until when the lease may be relied on, if no renewal succeeds.
func (jl *JobLease) Deadline() time.Time { return jl.lease.Deadline() }

// Lapse stops the renewal and releases nothing: the lease runs out by itself.
func (jl *JobLease) Lapse() { jl.lease.Lapse() }

// Settle ends the attempt. Until Redis has answered, or ctx ends, the lease is
// renewed. When it is settled the context ends with ErrReleased. After
// ErrOutcomeUnknown, ErrNotReplicated or ErrUnavailable the lease is kept, and
// Settle may be called again.
func (jl *JobLease) Settle(ctx context.Context, s Settlement) error {
	s.Lease = jl
	rs, err := jl.lease.l.Jobs().Settle(ctx, s)
	if err != nil && len(rs) == 1 {
		return rs[0].Err
	}
	return err
}
