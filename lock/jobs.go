package lock

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Jobs are locks with an attempt counter and an outcome, in the same step.
type Jobs struct{ l *Locker }

// Jobs returns the jobs of the Locker's namespace.
func (l *Locker) Jobs() Jobs { return Jobs{l} }

// claimant checks a claim and fills in its defaults.
func (j Jobs) claimant(c JobClaim) (claimant, error) {
	if c.Owner == "" {
		c.Owner = j.l.cfg.Owner
	}
	if c.TTL == 0 {
		c.TTL = j.l.cfg.TTL
	}
	cl := claimant{
		place: jobPlace(c.ID), resource: c.ID.Key, job: c.ID, isJob: true,
		owner: c.Owner, lease: c.TTL, max: c.MaxAttempts, retention: c.Retention,
	}
	errs := []error{c.ID.check("JobClaim.ID"), checkName("JobClaim.Owner", c.Owner), checkTTL("JobClaim.TTL", c.TTL)}
	if c.TTL == NoExpiry {
		errs = append(errs, invalid("JobClaim.TTL: a job has a lease that ends"))
	}
	if c.MaxAttempts < 1 || int64(c.MaxAttempts) > maxAttempts {
		errs = append(errs, invalid("JobClaim.MaxAttempts %d: want 1 to %d", c.MaxAttempts, maxAttempts))
	}
	if c.Retention < 0 {
		errs = append(errs, invalid("JobClaim.Retention %v is negative", c.Retention))
	}
	return cl, errors.Join(errs...)
}

// maxAttempts keeps the counter exact in Lua.
const maxAttempts int64 = 1 << 50

func (id JobID) check(field string) error {
	if err := checkName(field+".Key", id.Key); err != nil {
		return err
	}
	if len(id.Run) > MaxName {
		return invalid("%s.Run has %d bytes: at most %d", field, len(id.Run), MaxName)
	}
	return nil
}

// A jobBatch is the part of a collection that goes in one call.
type jobBatch struct {
	call  *call
	index []int
}

// jobBatches cuts inputs into calls, by shard and by chunk. key returns an
// input's resource, args what it adds to a call.
func (l *Locker) jobBatches(n int, s *script, skip func(i int) bool, key func(i int) string, args func(i int) []any) []*jobBatch {
	var batches []*jobBatch
	open := make(map[int]*jobBatch)
	for i := range n {
		if skip(i) {
			continue
		}
		shard := l.shardOf(key(i))
		b := open[shard]
		if b == nil || len(b.index) == jobChunk {
			b = &jobBatch{call: &call{script: s, shard: shard}}
			open[shard] = b
			if s.layout != nil {
				b.call.kin = "job"
			}
			batches = append(batches, b)
		}
		b.index = append(b.index, i)
		b.call.args = append(b.call.args, args(i)...)
	}
	return batches
}

// jobChunk is how many jobs a script takes: their work is more than a lock's.
const jobChunk = 50

func (l *Locker) execJobs(ctx context.Context, batches []*jobBatch) {
	calls := make([]*call, len(batches))
	for i, b := range batches {
		calls[i] = b.call
	}
	l.exec(ctx, calls...)
}

// jobError is the error of a collection call on jobs.
func jobError(op string, rs []JobResult) error {
	return grantsOfJobs(rs).err(op)
}

func grantsOfJobs(rs []JobResult) Results {
	grants := make(Results, len(rs))
	for i := range rs {
		grants[i] = rs[i].Grant
	}
	return grants
}

// Claim claims an attempt at each job, and never waits. One result per claim,
// in order; the error is nil only if each was granted. A key that stands twice
// is an error the second time, whatever the run. Grants are not renewed: see
// Locker.Keep.
func (j Jobs) Claim(ctx context.Context, claims ...JobClaim) (rs []JobResult, err error) {
	ctx, end := j.l.traceJobs(ctx, "Jobs.Claim", len(claims))
	defer func() { end(rs, err) }()
	return j.claim(ctx, claims)
}

func (j Jobs) claim(ctx context.Context, claims []JobClaim) ([]JobResult, error) {
	l := j.l
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	began := l.now()
	rs, cls := j.accept(claims)
	batches := l.jobBatches(len(claims), claimScript,
		func(i int) bool { return rs[i].Grant.Err != nil },
		func(i int) string { return cls[i].resource },
		func(int) []any { return nil })
	parts := make([]claimed, len(batches))
	for n, b := range batches {
		part := make([]claimant, len(b.index))
		for k, i := range b.index {
			part[k] = cls[i]
		}
		var nonces []string
		b.call, nonces = claimCall(b.call.shard, "", part)
		parts[n] = claimed{l: l, jobBatch: b, claims: cls, nonce: func(k int) string { return nonces[k] }}
		b.call.orphan = parts[n].orphaned
	}
	l.execJobs(ctx, batches)
	var released []<-chan struct{}
	for _, p := range parts {
		released = append(released, p.answers(ctx, rs, func(k int) answer { return answerOf(p.call, k, p.claim(k)) })...)
	}
	l.granted(ctx, rs, began, released)
	return rs, jobError("Jobs.Claim", rs)
}

// accept makes a result for each claim, with an error for one that is not valid, and fills its defaults in.
func (j Jobs) accept(claims []JobClaim) ([]JobResult, []claimant) {
	rs := make([]JobResult, len(claims))
	cls := make([]claimant, len(claims))
	seen := make(map[string]struct{}, len(claims))
	for i := range claims {
		c := &claims[i]
		rs[i].Grant.Resource, rs[i].Job.ID = c.ID.Key, c.ID
		cls[i], rs[i].Grant.Err = j.claimant(*c)
		n := len(seen)
		if seen[c.ID.Key] = struct{}{}; len(seen) == n && rs[i].Grant.Err == nil {
			rs[i].Grant.Err = invalid("JobClaim[%d].ID.Key %q stands twice in the call", i, c.ID.Key)
		}
	}
	return rs, cls
}

// granted waits until what was not replicated has been given back, and tells observers of the grants.
func (l *Locker) granted(ctx context.Context, rs []JobResult, began time.Duration, released []<-chan struct{}) {
	if released != nil {
		l.awaitReleases(ctx, released...)
	}
	for i := range rs {
		if g := &rs[i].Grant; g.Err == nil {
			l.observe(Event{Kind: EventLock, Resource: g.Resource, Owner: g.Owner, Fence: g.Fence, Wait: l.now() - began})
		}
	}
}

// Await waits until an attempt is granted, in the order of arrival, and keeps
// its lease. The error is ErrJobDone or ErrJobExhausted, told in the result
// too, a failure that waiting does not mend, or the context's cause, joined
// with ErrHeld or ErrTooEarly where that was the last answer. While Redis is
// out of reach, Await goes on trying, and tells OnLook. ctx bounds the waiting
// only.
func (j Jobs) Await(ctx context.Context, claim JobClaim) (_ *JobLease, r JobResult, err error) {
	l := j.l
	traced, end := l.traceOne(ctx, "Jobs.Await") // the lease has ctx's values
	defer func() {
		r := r.Grant
		r.Resource = claim.ID.Key // also where there was no answer
		end(r, err)
	}()
	if err := l.ready(ctx); err != nil {
		return nil, JobResult{}, err
	}
	cl, err := j.claimant(claim)
	if err != nil {
		return nil, JobResult{}, err
	}
	began := l.now()
	a, err := l.queue.wait(&waiter{ctx: traced, claim: cl, onLook: claim.OnLook})
	if err != nil {
		return nil, a.JobResult, err
	}
	l.observe(Event{Kind: EventLock, Resource: cl.resource, Owner: cl.owner, Fence: a.Grant.Fence, Wait: l.now() - began})
	return &JobLease{lease: l.keep(ctx, a.Grant, l.now()), grant: a.Grant, job: a.Job}, a.JobResult, nil
}

// TryAwait claims once, without waiting, and keeps the lease that is granted.
// Its errors are Await's, and ErrHeld, ErrTooEarly, ErrUnavailable.
func (j Jobs) TryAwait(ctx context.Context, claim JobClaim) (_ *JobLease, r JobResult, err error) {
	traced, end := j.l.traceOne(ctx, "Jobs.TryAwait")
	defer func() { end(r.Grant, err) }()
	leases, rs, err := j.tryAwaitAll(ctx, traced, []JobClaim{claim})
	if err != nil {
		if len(rs) == 1 {
			return nil, rs[0], rs[0].Grant.Err
		}
		return nil, JobResult{}, err
	}
	return leases[0], rs[0], nil
}

// TryAwaitAll claims as Claim does, and keeps the leases that are granted. There
// is one for each claim, in order: nil where it was not granted.
func (j Jobs) TryAwaitAll(ctx context.Context, claims ...JobClaim) (_ []*JobLease, rs []JobResult, err error) {
	traced, end := j.l.traceJobs(ctx, "Jobs.TryAwaitAll", len(claims))
	defer func() { end(rs, err) }()
	return j.tryAwaitAll(ctx, traced, claims)
}

// tryAwaitAll claims with the context traced; the leases have the values of ctx.
func (j Jobs) tryAwaitAll(ctx, traced context.Context, claims []JobClaim) ([]*JobLease, []JobResult, error) {
	rs, err := j.claim(traced, claims)
	return j.keep(ctx, rs), rs, err
}

// keep keeps what was granted.
func (j Jobs) keep(ctx context.Context, rs []JobResult) []*JobLease {
	leases, now := make([]*JobLease, len(rs)), j.l.now()
	for i := range rs {
		if r := &rs[i]; r.Grant.Err == nil {
			leases[i] = &JobLease{lease: j.l.keep(ctx, r.Grant, now), grant: r.Grant, job: r.Job}
		}
	}
	return leases
}

// Get reads jobs, in the order of the ids. An absent one is no error. The error
// is that of the first id that could not be read.
func (j Jobs) Get(ctx context.Context, ids ...JobID) (_ []JobInfo, err error) {
	l := j.l
	ctx, end := l.trace(ctx, "Jobs.Get", len(ids))
	var rs Results
	defer func() { end(rs, err) }()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	infos := make([]JobInfo, len(ids))
	rs = make(Results, len(ids))
	for i, id := range ids {
		infos[i].ID, rs[i].Resource, rs[i].Err = id, id.Key, id.check("JobID")
	}
	batches := l.idBatches(ids, rs, getScript)
	l.execJobs(ctx, batches)
	for _, b := range batches {
		err := l.outcome(ctx, b.call)
		for k, i := range b.index {
			if err != nil {
				rs[i].Err = err
				continue
			}
			at := 2 + 3*k
			info, ok := parseRecord(ids[i], b.call.str(at+1), b.call.str(at), b.call.stamp)
			if !ok {
				rs[i].Err = fmt.Errorf("%w: job %q", ErrCorruptState, ids[i].Key)
				continue
			}
			waiters, _ := parseDigits(b.call.str(at + 2))
			info.Waiters = int(waiters)
			infos[i] = info
		}
	}
	return infos, rs.err("Jobs.Get")
}

func (l *Locker) idBatches(ids []JobID, rs Results, s *script) []*jobBatch {
	return l.jobBatches(len(ids), s,
		func(i int) bool { return rs[i].Err != nil },
		func(i int) string { return ids[i].Key },
		func(i int) []any { return []any{jobPlace(ids[i]), ids[i].Key} })
}

// List yields the remembered runs, page by page, in no order, each once. TTL is
// filled in for those that run, Waiters for none: see Get. It yields an error for
// a foreign value, and goes on; after any other error it ends.
func (j Jobs) List(ctx context.Context, q JobQuery) iter.Seq2[JobInfo, error] {
	return func(yield func(JobInfo, error) bool) {
		l := j.l
		ctx, end := l.trace(ctx, "Jobs.List", 0)
		var failure error
		defer func() { end(nil, failure) }()
		l.scan(ctx, jobsKey, func(stamp int64, place, record, lock string) bool {
			id, ok := parsePlace(place)
			if !ok {
				failure = fmt.Errorf("%w: job field %q", ErrCorruptState, place)
				return yield(JobInfo{}, failure)
			}
			if !strings.HasPrefix(id.Key, q.Prefix) {
				return true
			}
			info, ok := parseRecord(id, record, lock, stamp)
			if !ok {
				failure = fmt.Errorf("%w: job %q", ErrCorruptState, id.Key)
				return yield(JobInfo{ID: id}, failure)
			}
			if q.Owner != "" && q.Owner != info.Owner || q.State != JobAbsent && q.State != info.State {
				return true
			}
			return yield(info, nil)
		}, func(err error) {
			failure = err
			yield(JobInfo{}, err)
		})
	}
}

// Reset forgets runs, with their attempts and outcomes, so that they may be
// worked on again. One that is held has ErrHeld and is left as it is.
func (j Jobs) Reset(ctx context.Context, ids ...JobID) (err error) {
	l := j.l
	ctx, end := l.trace(ctx, "Jobs.Reset", len(ids))
	var rs Results
	defer func() { end(rs, err) }()
	if err := l.ready(ctx); err != nil {
		return err
	}
	rs = make(Results, len(ids))
	for i, id := range ids {
		rs[i].Resource, rs[i].Err = id.Key, id.check("JobID")
	}
	batches := l.idBatches(ids, rs, resetScript)
	for _, b := range batches {
		b.call.once, b.call.dated = true, true
		b.call.args = append([]any{"0"}, b.call.args...)
	}
	l.execJobs(ctx, batches)
	for _, b := range batches {
		err := l.outcome(ctx, b.call)
		for k, i := range b.index {
			switch status := b.call.status(err, 2+2*k); status {
			case "reset":
			case "held":
				if e, ok := parseEntry(b.call.str(3 + 2*k)); ok {
					rs[i].refuse(e, b.call.stamp)
				}
			case "newer":
				rs[i].Err = fmt.Errorf("%w: a reply was lost, and there was a grant since", ErrOutcomeUnknown)
			case "":
				rs[i].Err = err
			default:
				rs[i].Err = fmt.Errorf("%w: job %q", ErrCorruptState, ids[i].Key)
			}
		}
	}
	return rs.err("Jobs.Reset")
}

// status returns a word of the reply, or "" if there was an error instead.
func (c *call) status(err error, at int) string {
	if err != nil {
		return ""
	}
	return c.str(at)
}
