package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A hand is one worker of a crew.
type hand struct {
	*crew
	rng     *rand.Rand
	worker  *worker.Worker
	serial  int
	tenures []crewNote // of the job that it is at
}

func (c *crew) work(rng *rand.Rand) {
	h := &hand{crew: c, rng: rng}
	w, err := worker.New(c.locker, worker.Config{
		TTL: c.spec.TTL, MaxAttempts: 1000, RetryDelay: worker.HandOver,
		Handlers: worker.Handlers{
			OnDone:   func(a worker.Attempt) { h.ended(a, "done") },
			OnFailed: func(a worker.Attempt, _ error) { h.ended(a, "failed") },
			OnLost:   func(a worker.Attempt) { h.ended(a, "lost") },
			OnError: func(j worker.Job, err error) {
				c.journal.write(crewNote{Kind: noteTold, Resource: j.Key, Run: j.Run.Name, At: now(), Error: crewKind(err), Text: err.Error()})
			},
		},
	})
	if err != nil {
		panic(err)
	}
	h.worker = w
	for !c.stopped() {
		switch n := rng.IntN(20); {
		case n < 11:
			h.job()
		case n < 14:
			h.wait()
		case n < 17:
			h.collection()
		default:
			h.contend()
		}
	}
}

// sleep works. It returns at once if the lease is lost.
func (h *hand) sleep(ctx context.Context, from, to time.Duration) {
	timer := time.NewTimer(between(h.rng, from, to))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// job runs the first run of a key that is not over, as far as this crew knows.
func (h *hand) job() {
	h.mu.Lock()
	k := h.rng.IntN(h.spec.Keys)
	n := h.runs[k]
	h.mu.Unlock()
	if h.run(k, n) {
		h.mu.Lock()
		h.runs[k] = max(h.runs[k], n+1)
		h.mu.Unlock()
	}
}

func crewJob(k, n int) worker.Job {
	return worker.Job{Key: "job " + strconv.Itoa(k), Run: worker.Run{Name: strconv.Itoa(n), Retention: time.Hour}}
}

// run has a job done, by this worker or another, and returns whether it is.
func (h *hand) run(k, n int) bool {
	job := crewJob(k, n)
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	asked := now()
	from := asked // the claim of the attempt at hand
	h.tenures = h.tenures[:0]
	_, err := h.worker.Run(ctx, job, func(ctx context.Context, a worker.Attempt) error {
		h.mu.Lock()
		h.tenures = append(h.tenures, crewNote{
			Kind: noteTenure, Resource: job.Key, Job: true, Run: job.Run.Name,
			Fence: a.Fence, Number: a.Number, Asked: from, Told: now(), End: "unknown",
		})
		at := len(h.tenures) - 1
		h.mu.Unlock()
		if h.rng.IntN(25) == 0 {
			long := min(h.spec.TTL, 2*time.Second)
			h.sleep(ctx, long, 2*long) // it needs renewals
		} else {
			h.sleep(ctx, 5*time.Millisecond, 50*time.Millisecond)
		}
		h.mu.Lock()
		from = now()
		h.tenures[at].Until = from
		h.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if h.rng.IntN(8) == 0 {
			return errors.New("it was to fail")
		}
		return nil
	})
	h.count("Run")
	for _, t := range h.tenures {
		if t.At == 0 {
			t.At = now()
		}
		h.journal.write(t)
	}
	h.trouble("Run", asked, 0, err)
	return err == nil
}

// ended is told by the worker's handlers how an attempt ended.
func (h *hand) ended(a worker.Attempt, end string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.tenures {
		if h.tenures[i].Fence == a.Fence {
			h.tenures[i].End, h.tenures[i].At = end, now()
		}
	}
}

// wait waits for a plain lock that many want, and holds it for a moment.
func (h *hand) wait() {
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	n := crewNote{Kind: noteTenure, Resource: "hot " + strconv.Itoa(h.rng.IntN(h.spec.Keys/4+1)), Asked: now(), End: "released"}
	le, err := h.locker.Hold(ctx, lock.Claim{Resource: n.Resource, TTL: h.spec.TTL})
	h.count("Hold")
	if err != nil {
		h.trouble("Hold", n.Asked, 0, err)
		return
	}
	n.Fence, n.Told = le.Fence(), now()
	h.sleep(le.Context(), time.Millisecond, 20*time.Millisecond)
	n.Until = now()
	err = le.Release(ctx)
	h.trouble("Release", n.Until, n.Told, err)
	h.count("Release")
	if n.At = now(); err != nil {
		n.End = "unknown"
	}
	h.journal.write(n)
}

// crewTTL is the lease time of what nobody renews: longer than anything is held up.
const crewTTL = crewPatience

// collection locks resources that nobody else wants, one or many, in as many shards:
// whatever is refused is an error.
func (h *hand) collection() {
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	owner := fmt.Sprintf("%s-%p", h.locker.Owner(), h)
	claims := make([]lock.Claim, 1+h.rng.IntN(60))
	names := make([]string, len(claims))
	h.serial++
	for i := range claims {
		names[i] = fmt.Sprintf("of %s, %d: %d", owner, h.serial, i)
		claims[i] = lock.Claim{Resource: names[i], Owner: owner, TTL: crewTTL}
	}
	asked := now()
	rs, err := h.locker.TryLock(ctx, claims...)
	told := now()
	h.trouble("TryLock", asked, told, err)
	asked = now()
	longer := rs.Claims()
	for i := range longer {
		longer[i].TTL = 2 * crewTTL
	}
	_, err = h.locker.Extend(ctx, longer...)
	h.trouble("Extend", asked, told, err)
	asked = now()
	found, err := h.locker.Owners(ctx, names...)
	h.trouble("Owners", asked, told, err)
	for i := range found {
		if found[i].Err == nil && rs[i].Err == nil && found[i].Fence != rs[i].Fence {
			h.trouble("Owners", asked, told, fmt.Errorf("%w: %q was granted with fence %d, and has %d", lock.ErrLeaseLost, names[i], rs[i].Fence, found[i].Fence))
			break
		}
	}
	asked = now()
	_, err = h.locker.Unlock(ctx, rs.Claims()...)
	h.trouble("Unlock", asked, told, err)
	for _, op := range []string{"TryLock", "Extend", "Owners", "Unlock"} {
		h.count(op)
	}
}

// contend locks what is free of some resources that others want, too.
func (h *hand) contend() {
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	var claims []lock.Claim
	for _, i := range h.rng.Perm(2 * h.spec.Keys)[:12] {
		claims = append(claims, lock.Claim{Resource: "shared " + strconv.Itoa(i), Owner: h.locker.Owner(), TTL: crewTTL})
	}
	asked := now()
	rs, err := h.locker.TryLock(ctx, claims...)
	told := now()
	h.count("TryLock")
	for _, r := range rs.Refused() {
		if !errors.Is(r.Err, lock.ErrHeld) {
			h.trouble("TryLock", asked, told, r.Err)
		}
	}
	if err == nil || len(rs.OK()) > 0 {
		h.sleep(ctx, time.Millisecond, 20*time.Millisecond)
		until := now()
		ended, err := h.locker.Unlock(ctx, rs.Claims()...)
		h.count("Unlock")
		h.trouble("Unlock", until, told, err)
		for i, r := range rs.OK() {
			n := crewNote{Kind: noteTenure, Resource: r.Resource, Fence: r.Fence, Asked: asked, Told: told, Until: until, End: "released", At: now()}
			if ended[i].Err != nil {
				n.End = "unknown"
			}
			h.journal.write(n)
		}
	}
}

// sweep runs again what was done and is not known to Redis any more: a killed
// master may have lost it.
func (c *crew) sweep() {
	h := &hand{crew: c, rng: rand.New(rand.NewPCG(c.spec.Seed, 1<<32))}
	w, err := worker.New(c.locker, worker.Config{
		TTL: c.spec.TTL, MaxAttempts: 1000, RetryDelay: worker.HandOver,
		Handlers: worker.Handlers{OnDone: func(a worker.Attempt) { h.ended(a, "done") }},
	})
	if err != nil {
		panic(err)
	}
	h.worker = w
	ctx, cancel := context.WithTimeout(context.Background(), crewPatience)
	defer cancel()
	for k, runs := range c.runs {
		var ids []lock.JobID
		for n := range runs {
			job := crewJob(k, n)
			ids = append(ids, lock.JobID{Key: job.Key, Run: job.Run.Name})
		}
		asked := now()
		infos, err := c.locker.Jobs().Get(ctx, ids...)
		c.trouble("Get", asked, 0, err)
		c.count("Get")
		for n, info := range infos {
			if err == nil && info.State != lock.JobDone {
				h.run(k, n)
			}
		}
	}
}
