package lock

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// A claimant is one claim as claim.lua takes it: for a resource, or for an
// attempt at a job.
type claimant struct {
	place     string // where it queues; tells a job's run too
	resource  string
	job       JobID // of a job; zero for a plain resource
	isJob     bool
	owner     string
	lease     time.Duration
	max       int
	retention time.Duration
}

// claimCall makes the call for claims of one shard. waiter is "" for those that
// do not wait. It returns the nonces, too.
func claimCall(shard int, waiter string, claims []claimant) (*call, []string) {
	c := &call{script: claimScript, shard: shard, once: true, args: make([]any, 0, 1+5*len(claims))}
	c.args = append(c.args, waiter)
	c.kin = "plain"
	if claims[0].isJob {
		c.kin = "job"
	}
	nonces := make([]string, len(claims))
	for i := range claims {
		cl := &claims[i]
		tail, nonce := tailOf(i, millis(cl.lease), cl.owner)
		nonces[i] = nonce
		c.args = append(c.args, cl.place, cl.resource, tail, strconv.Itoa(cl.max), millis(cl.retention))
	}
	return c, nonces
}

// An answer is what became of one claim.
type answer struct {
	status string // as claim.lua says it
	JobResult
	rank int
	left time.Duration // how long the way is barred: until the holder's lease, an offer or a delay ends
}

// answerOf reads the i-th answer of a claim call.
func answerOf(c *call, i int, cl *claimant) answer {
	at := 2 + 4*i
	rank, _ := parseDigits(c.str(at + 3))
	return cl.answer(c, c.str(at), c.str(at+1), c.str(at+2), int(rank))
}

// answer reads what a call told of a claim: status, entry of the lock, record and rank.
func (cl *claimant) answer(c *call, status, lock, record string, rank int) answer {
	a := answer{status: status, rank: rank}
	a.Grant = Result{Resource: cl.resource}
	e, held := parseEntry(lock)
	if held {
		a.left = e.left(c.stamp)
		a.Grant.Owner, a.Grant.Fence, a.Grant.TTL = e.owner, e.fence, e.left(c.stamp)
	}
	known := true
	if cl.isJob {
		a.Job, known = parseRecord(cl.job, record, lock, c.stamp)
		a.Job.Waiters = a.rank
	}
	switch a.status {
	case "granted":
		if !held || e.offered {
			known = false
			break
		}
		a.Grant.entry = lock
		a.Grant.grant(e, c)
	case "held":
		a.Grant.Err = ErrHeld
	case "early":
		a.Grant.Err = ErrTooEarly
		a.left = time.Until(a.Job.NotBefore)
		if !a.Job.NotBefore.IsZero() {
			a.left = time.Duration(a.Job.NotBefore.UnixMilli()-c.stamp/1000) * time.Millisecond
		}
	case "done":
		a.Grant.Err = ErrJobDone
	case "exhausted":
		a.Grant.Err = ErrJobExhausted
	case "used":
		a.Grant.Err = ErrHeld
	default:
		known = false
	}
	if !known {
		a.status = "bad"
		a.Grant.Err = fmt.Errorf("%w: lock or job %q", ErrCorruptState, cl.resource)
	}
	return a
}

// claimed is a call for a part of the claims of a collection.
type claimed struct {
	*jobBatch
	l      *Locker
	claims []claimant         // of the whole collection
	nonce  func(k int) string // of the k-th of the call
}

// claim is the k-th of the call.
func (b claimed) claim(k int) *claimant { return &b.claims[b.index[k]] }

// orphaned takes the call after its caller left.
func (b claimed) orphaned(c *call) {
	if c.mayHaveGranted() {
		b.l.giveBack(c.shard, b.strays(nil), c.ghost)
	}
}

// strays are the call's claims; fences are those of grants that reached their caller, by position.
func (b claimed) strays(fences map[int]int64) []stray {
	strays := make([]stray, len(b.index))
	for k := range b.index {
		cl := b.claim(k)
		strays[k] = stray{place: cl.place, resource: cl.resource, nonce: b.nonce(k), lease: cl.lease}
		if f, ok := fences[k]; ok {
			strays[k].real = fenceText(f)
		}
	}
	return strays
}

// answers reads the call's answers into the results, each once and in order, and gives back what
// their caller is not to have. Where grants were not replicated it returns what is closed when that
// has been tried.
func (b claimed) answers(ctx context.Context, rs []JobResult, answer func(k int) answer) (released []<-chan struct{}) {
	c := b.call
	err := b.l.outcome(ctx, c)
	var fences map[int]int64
	short := false
	for k, i := range b.index {
		if err != nil {
			rs[i].Grant.Err = err
			continue
		}
		a := answer(k)
		rs[i] = a.JobResult
		switch {
		case a.status == "granted" && c.short != nil:
			rs[i].Grant.unconfirm(c.short)
			rs[i].Job = JobInfo{ID: rs[i].Job.ID}
			short = true
		case a.status == "granted":
			if fences == nil {
				fences = make(map[int]int64)
			}
			fences[k] = a.Grant.Fence
		}
	}
	if c.state.Load() == callAnswered && (c.ghost > 0 || short || err != nil && c.mayHaveGranted()) {
		r := b.l.giveBack(c.shard, b.strays(fences), c.ghost)
		if short {
			released = append(released, r)
		}
	}
	return released
}
