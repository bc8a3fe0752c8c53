package lock

import (
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
	a := answer{status: c.str(at)}
	lock, record := c.str(at+1), c.str(at+2)
	rank, _ := parseDigits(c.str(at + 3))
	a.rank = int(rank)
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
