package lock

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// errUndecided is what pick.lua leaves to claim.lua.
var errUndecided = errors.New("lock: not decided yet")

// TryAwaitSome claims as TryAwaitAll does, in the order of the claims, but no more once n are granted, or
// may be: the others have ErrEnough, unless it is known that they are held, done or exhausted. It is made
// for many claims alike of which most will be refused: to be told that a run is done costs little, and of
// one that was done by its first attempt the JobInfo has that alone, with State and Attempt; Get knows the
// rest. Of each shard, lease time and retention one more may be granted than its share of n.
func (j Jobs) TryAwaitSome(ctx context.Context, n int, claims ...JobClaim) (leases []*JobLease, rs []JobResult, err error) {
	traced, end := j.l.traceJobs(ctx, "Jobs.TryAwaitSome", len(claims))
	defer func() { end(rs, err) }()
	rs, err = j.claimSome(traced, n, claims)
	return j.keep(ctx, rs), rs, err
}

func (j Jobs) claimSome(ctx context.Context, n int, claims []JobClaim) ([]JobResult, error) {
	l := j.l
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	began := l.now()
	rs, cls := j.accept(claims)
	picks := l.picks(max(n, 0), rs, cls)
	calls := make([]*call, len(picks))
	for i, p := range picks {
		calls[i] = p.call
	}
	l.exec(ctx, calls...)
	var released []<-chan struct{}
	for _, p := range picks {
		released = append(released, p.answers(ctx, rs, p.reader())...)
	}
	l.granted(ctx, rs, began, released)
	j.decide(ctx, claims, rs)
	return rs, jobError("Jobs.TryAwaitSome", rs)
}

// decide claims what the picks left undecided.
func (j Jobs) decide(ctx context.Context, claims []JobClaim, rs []JobResult) {
	var part []JobClaim
	var index []int
	for i := range rs {
		if errors.Is(rs[i].Grant.Err, errUndecided) {
			part, index = append(part, claims[i]), append(index, i)
		}
	}
	if part == nil {
		return
	}
	decided, err := j.claim(ctx, part)
	for k, i := range index {
		if decided == nil { // not even begun
			rs[i].Grant.Err = err
			continue
		}
		rs[i] = decided[k]
	}
}

// A pick is a call of pick.lua.
type pick struct {
	claimed
	kind pickKind
}

// pickKind is what the claims of a pick have in common.
type pickKind struct {
	shard     int
	owner     string
	lease     time.Duration
	max       int
	retention time.Duration
}

// picks makes the calls for the valid claims.
func (l *Locker) picks(n int, rs []JobResult, cls []claimant) []*pick {
	var all []*pick
	var last *pick
	open := make(map[pickKind]*pick)
	valid := 0
	for i := range cls {
		if rs[i].Grant.Err != nil {
			continue
		}
		valid++
		cl := &cls[i]
		kind := pickKind{l.shardOf(cl.resource), cl.owner, cl.lease, cl.max, cl.retention}
		if last == nil || last.kind != kind {
			last = open[kind]
		}
		if last == nil || len(last.index) == chunk {
			last = &pick{kind: kind, claimed: claimed{l: l, jobBatch: &jobBatch{}, claims: cls}}
			if all == nil { // most frequently the only one
				last.index = make([]int, 0, min(chunk, len(cls)))
			}
			open[kind] = last
			all = append(all, last)
		}
		last.index = append(last.index, i)
	}
	n = min(n, valid)
	for _, p := range all {
		p.call = p.prepare((n*len(p.index) + valid - 1) / valid)
	}
	return all
}

// prepare makes the call, of which so many claims may be granted.
func (p *pick) prepare(most int) *call {
	rest := newRests(1, millis(p.kind.lease), p.kind.owner)[0]
	p.nonce = func(int) string { return nonceIn(rest) }
	c := &call{script: pickScript, shard: p.kind.shard, once: true, orphan: p.orphaned}
	c.args = []any{strconv.Itoa(most), rest, strconv.Itoa(p.kind.max), millis(p.kind.retention)}
	c.names = make([]string, len(p.index))
	for k := range p.index {
		c.names[k] = p.claim(k).place
	}
	return c
}

// reader returns what reads the answers, one after another. A call that was left has no reply yet, or is
// just being given one: it must not be looked at before the first answer is wanted.
func (p *pick) reader() func(k int) answer {
	c, at := p.call, 3
	return func(k int) answer {
		cl := p.claim(k)
		letter := byte(0)
		if letters := c.str(2); len(letters) == len(p.index) {
			letter = letters[k]
		}
		refused := func(err error) answer {
			return answer{JobResult: JobResult{Grant: Result{Resource: cl.resource, Err: err}, Job: JobInfo{ID: cl.job}}}
		}
		switch letter {
		case 'd':
			a := refused(ErrJobDone)
			a.Job.State, a.Job.Attempt = JobDone, 1
			return a
		case '-':
			return refused(ErrEnough)
		case '?':
			return refused(errUndecided)
		}
		at += 2
		return cl.answer(c, pickWords[letter], c.str(at-2), c.str(at-1), 0)
	}
}

var pickWords = map[byte]string{'g': "granted", 'h': "held", 'D': "done", 'x': "exhausted"}
