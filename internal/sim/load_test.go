package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A plan is what a seed makes of the cluster.
type plan struct {
	lease       time.Duration
	maxAttempts int
	keys        int           // of jobs
	period      time.Duration // after which a job has its next run
	retention   time.Duration
	lanes       int // calls of a process at a time
	failing     float64
	delay       time.Duration // the most, after a failure
	publish     bool
	losesData   bool // a restart may
	shards      int
}

func newPlan(rng *rand.Rand) plan {
	leases := []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second}
	retentions := []time.Duration{time.Second, 10 * time.Second, time.Minute, lock.NoExpiry}
	return plan{
		lease: leases[rng.IntN(len(leases))], maxAttempts: 1 + rng.IntN(5), keys: 1 + rng.IntN(8),
		period: time.Duration(1+rng.IntN(8)) * time.Second, retention: retentions[rng.IntN(len(retentions))],
		lanes: 1 + rng.IntN(2), failing: 0.6 * rng.Float64(), delay: time.Duration(rng.IntN(3)) * 700 * time.Millisecond,
		publish: rng.IntN(4) == 0, losesData: rng.IntN(3) == 0, shards: 1 + rng.IntN(3),
	}
}

// A call is one call of Run, Acquire or Hold, as its process sees it.
type call struct {
	p       *process
	key     string
	place   string // "" for a plain lock
	patient bool   // it waits as long as it takes
	once    bool   // and for one grant only
	since   time.Time
	atWork  bool
	fences  []int64 // that it was granted
}

// load has the process work: so many calls at a time, each one a short while after the other.
func (w *world) load(p *process) {
	for lane := range w.plan.lanes {
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), uint64(lane)))
		p.calls.Go(func() {
			for {
				if sleep(p.life, within(rng, 2*time.Second)) != nil || w.over() {
					return
				}
				switch dice := rng.IntN(20); {
				case dice < 3:
					w.hold(p, rng)
				case dice < 5:
					w.collect(p, rng)
				case dice < 8:
					w.acquire(p, rng)
				default:
					w.run(p, rng)
				}
			}
		})
	}
}

func (w *world) job(rng *rand.Rand) worker.Job {
	run := int(time.Since(w.began) / w.plan.period)
	if rng.IntN(8) == 0 && run > 0 {
		run-- // a late one
	}
	return worker.Job{
		Key: fmt.Sprintf("job-%d", rng.IntN(w.plan.keys)),
		Run: worker.Run{Name: fmt.Sprintf("run-%d", run), Retention: w.plan.retention},
	}
}

func (w *world) config(rng *rand.Rand) worker.Config {
	cfg := worker.Config{TTL: w.plan.lease, MaxAttempts: w.plan.maxAttempts}
	switch rng.IntN(10) {
	case 0:
		cfg.MaxWait = worker.NoWait
	case 1:
		cfg.MaxWait = 1 + within(rng, 3*time.Second)
	}
	if rng.IntN(10) == 0 {
		cfg.WorkTimeout = w.plan.lease/2 + within(rng, w.plan.lease)
	}
	delay := time.Duration(0)
	if w.plan.delay > 0 {
		delay = within(rng, w.plan.delay)
	}
	cfg.RetryDelay = func(worker.Attempt, error) time.Duration { return delay }
	return cfg
}

// context is the caller's, who may lose patience.
func (p *process) context(rng *rand.Rand) (context.Context, context.CancelFunc) {
	if rng.IntN(8) == 0 {
		return context.WithTimeoutCause(p.life, within(rng, 5*time.Second), errImpatient)
	}
	return context.WithCancel(p.life)
}

var errImpatient = errors.New("the caller has lost patience")

func (w *world) run(p *process, rng *rand.Rand) {
	job, cfg := w.job(rng), w.config(rng)
	ctx, cancel := p.context(rng)
	defer cancel()
	c := w.enter(&call{p: p, key: job.Key, place: placeOf(job.Key, job.Run.Name), patient: cfg.MaxWait == 0})
	outcome, err := p.newWorker(cfg).Run(ctx, job, func(ctx context.Context, a worker.Attempt) error {
		return w.work(ctx, c, a.Fence, rng)
	})
	w.exit(c)
	w.judge(c, ctx, cfg, outcome, err)
}

var (
	errWork   = errors.New("the work has failed")
	errForced = worker.Permanent(errors.New("the work will never succeed"))
)

// work takes its time, and ends as the dice say.
func (w *world) work(ctx context.Context, c *call, fence int64, rng *rand.Rand) (err error) {
	w.begin(ctx, c, fence)
	defer func() { w.finish(ctx, c, fence) }()
	d := within(rng, w.plan.lease/2)
	switch rng.IntN(12) {
	case 0:
		d = within(rng, 3*w.plan.lease)
	case 1:
		d = 0
	}
	if rng.IntN(10) == 0 {
		time.Sleep(d) // does not look at its context
	} else if sleep(ctx, d) != nil {
		c.p.running()
		return context.Cause(ctx)
	}
	c.p.running()
	switch dice := rng.Float64(); {
	case dice < 0.01:
		return errForced
	case dice < 0.02 && !c.once: // who settles by hand has nobody to catch it
		panic("the work has panicked")
	case dice < 0.03 && !c.once:
		runtime.Goexit()
	case dice < w.plan.failing:
		return errWork
	}
	return nil
}

// acquire settles by hand.
func (w *world) acquire(p *process, rng *rand.Rand) {
	job, cfg := w.job(rng), w.config(rng)
	ctx, cancel := p.context(rng)
	defer cancel()
	c := w.enter(&call{p: p, key: job.Key, place: placeOf(job.Key, job.Run.Name), patient: cfg.MaxWait == 0, once: true})
	defer w.exit(c)
	g, err := p.newWorker(cfg).Acquire(ctx, job)
	if err != nil {
		return
	}
	fence := g.Attempt().Fence
	failure := w.work(g.Context(), c, fence, rand.New(rand.NewPCG(rng.Uint64(), 1)))
	settling, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	switch {
	case rng.IntN(5) == 0:
		err = g.GiveBack(settling)
	case failure != nil:
		err = g.Fail(settling, failure)
	default:
		if err = g.Done(settling); err == nil {
			w.confirm(c, fence)
		}
	}
	if err != nil && !errors.Is(err, lock.ErrLeaseLost) { // not settled: it must not be kept for ever
		lapse, end := context.WithTimeout(context.Background(), w.plan.lease)
		defer end()
		for lapse.Err() == nil && g.Context().Err() == nil && g.GiveBack(lapse) != nil {
			_ = sleep(lapse, 50*time.Millisecond)
		}
	}
}

// hold waits for a plain lock.
func (w *world) hold(p *process, rng *rand.Rand) {
	ctx, cancel := p.context(rng)
	defer cancel()
	key := fmt.Sprintf("lock-%d", rng.IntN(2))
	c := w.enter(&call{p: p, key: key, patient: true, once: true})
	defer w.exit(c)
	_ = p.locker.Do(ctx, lock.Claim{Resource: key}, func(ctx context.Context, le *lock.Lease) error {
		w.begin(le.Context(), c, le.Fence())
		defer w.finish(le.Context(), c, le.Fence())
		_ = sleep(ctx, within(rng, 2*w.plan.lease/3))
		p.running()
		return nil
	})
}

// collect locks what is free of a collection, and unlocks it.
func (w *world) collect(p *process, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(p.life, 3*time.Second)
	defer cancel()
	var names []string
	for i := range 1 + rng.IntN(100) {
		names = append(names, fmt.Sprintf("one-of-a-collection-%d", i))
	}
	rs, _ := p.locker.TryLock(ctx, lock.Claims(p.owner, names...)...)
	granted := rs.OK()
	if len(granted) == 0 {
		return
	}
	_ = sleep(ctx, within(rng, w.plan.lease))
	if rng.IntN(2) == 0 {
		_, _ = p.locker.Extend(ctx, granted.Claims()...)
	}
	_, _ = p.locker.Unlock(ctx, granted.Claims()...)
}
