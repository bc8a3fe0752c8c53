package lock_test

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// A model is what a namespace must be like, by its own clock. All leases and delays
// end in the middle between two moves of the clock, so that a real clock, which
// runs on a little, decides nothing.
type model struct {
	now   time.Duration
	locks map[string]*modelLock
	runs  map[lock.JobID]*modelRun
	fence int64 // the largest so far
}

const forever time.Duration = math.MaxInt64

type modelLock struct {
	owner string
	fence int64
	end   time.Duration
	claim lock.Claim // as the grant was returned
	past  lock.Claim // of the grant before, or the same
}

// A modelRun is what is remembered of a run, at least until.
type modelRun struct {
	state            lock.JobState // JobRunning also after its lease has ended
	permanent        bool
	attempts, max    int
	notBefore, until time.Duration
	lease, retention time.Duration
	owner            string // of the newest grant
	fence            int64
	ended            map[int64]lock.End // grants that were settled
}

func newModel() *model {
	return &model{locks: map[string]*modelLock{}, runs: map[lock.JobID]*modelRun{}}
}

// held returns who has a resource; nil if it is free.
func (m *model) held(resource string) *modelLock {
	if h := m.locks[resource]; h != nil && h.end > m.now {
		return h
	}
	return nil
}

// granted notes a grant, whose fence must be new.
func (m *model) granted(c lock.Claim, ttl time.Duration, r lock.Result, floor int64) error {
	if r.Err != nil || r.Resource != c.Resource || r.Owner != c.Owner || r.Fence <= floor || !m.lasts(r.TTL, m.after(ttl)) {
		return fmt.Errorf("granted %+v for %+v, with fences up to %d before", r, c, floor)
	}
	h := &modelLock{owner: c.Owner, fence: r.Fence, end: m.after(ttl), claim: lock.Results{r}.Claims()[0]}
	h.past = h.claim
	if before := m.locks[c.Resource]; before != nil {
		h.past = before.claim
	}
	m.locks[c.Resource] = h
	m.fence = max(m.fence, r.Fence)
	return nil
}

// release ends a lock now.
func (m *model) release(resource string) {
	if h := m.held(resource); h != nil {
		h.end = m.now
	}
}

func (m *model) after(d time.Duration) time.Duration {
	if d == lock.NoExpiry {
		return forever
	}
	return m.now + d
}

// lasts tells whether so much time is left until end.
func (m *model) lasts(left, end time.Duration) bool {
	if end == forever {
		return left == lock.NoExpiry
	}
	return left <= end-m.now && left > end-m.now-tick/2
}

// shows tells whether a result shows who has the resource.
func (m *model) shows(r lock.Result) bool {
	h := m.held(r.Resource)
	if h == nil {
		return r.Owner == "" && r.Fence == 0 && r.TTL == 0
	}
	return r.Owner == h.owner && r.Fence == h.fence && m.lasts(r.TTL, h.end)
}

// refused checks a result with this error, and the holder if it is ErrHeld.
func (m *model) refused(r lock.Result, want error) error {
	if !errors.Is(r.Err, want) || errors.Is(want, lock.ErrHeld) && !m.shows(r) {
		return fmt.Errorf("%+v, want %w of %+v", r, want, m.held(r.Resource))
	}
	return nil
}

// means tells whether a claim is one for this lock.
func (h *modelLock) means(c lock.Claim) error {
	switch {
	case h == nil:
		return lock.ErrNotHeld
	case h.owner != c.Owner || c.Fence != 0 && c.Fence != h.fence:
		return lock.ErrHeld
	}
	return nil
}

// views are how a run may be remembered: once its time is over, also not at all.
func (m *model) views(id lock.JobID) []*modelRun {
	run := m.runs[id]
	if run != nil && m.until(id, run) <= m.now {
		return []*modelRun{run, nil}
	}
	return []*modelRun{run}
}

func (m *model) until(id lock.JobID, run *modelRun) time.Duration {
	if h := m.locks[id.Key]; run.state == lock.JobRunning && h != nil && h.fence == run.fence {
		return max(run.until, sum(h.end, max(run.retention, run.lease)))
	}
	return run.until
}

func sum(ds ...time.Duration) time.Duration {
	total := time.Duration(0)
	for _, d := range ds {
		if d == forever {
			return forever
		}
		total += d
	}
	return total
}

// holds tells whether the newest grant of a run has the lock.
func (m *model) holds(id lock.JobID, run *modelRun) bool {
	h := m.held(id.Key)
	return run != nil && run.state == lock.JobRunning && h != nil && h.fence == run.fence
}

// working returns the run that has a job's lock; nil if there is none.
func (m *model) working(key string) *lock.JobID {
	for id, run := range m.runs {
		if id.Key == key && m.holds(id, run) {
			return &id
		}
	}
	return nil
}

// claimable tells what a claim must be answered in view of run.
func (m *model) claimable(run *modelRun, c lock.JobClaim) error {
	switch {
	case run != nil && run.state == lock.JobDone:
		return lock.ErrJobDone
	case run != nil && run.state == lock.JobExhausted && (run.permanent || run.attempts >= c.MaxAttempts):
		return lock.ErrJobExhausted
	case m.held(c.ID.Key) != nil:
		return lock.ErrHeld
	case run != nil && run.notBefore > m.now:
		return lock.ErrTooEarly
	case run != nil && run.attempts >= c.MaxAttempts:
		return lock.ErrJobExhausted
	}
	return nil
}

// claimed makes what a claim leaves of run, which is answered with err.
func (m *model) claimed(run *modelRun, c lock.JobClaim, g lock.Result, err error) *modelRun {
	if err != nil {
		if errors.Is(err, lock.ErrJobExhausted) && run.state != lock.JobExhausted {
			next := *run
			next.state, next.max = lock.JobExhausted, c.MaxAttempts
			next.until = sum(m.now, max(next.retention, next.lease), next.lease)
			return &next
		}
		return run
	}
	next := &modelRun{
		state: lock.JobRunning, attempts: 1, max: c.MaxAttempts, owner: c.Owner, fence: g.Fence,
		lease: c.TTL, retention: c.Retention, until: sum(m.now, max(c.Retention, c.TTL), c.TTL), ended: map[int64]lock.End{},
	}
	if run != nil {
		next.attempts = run.attempts + 1
		for fence, end := range run.ended {
			next.ended[fence] = end
		}
	}
	return next
}

// settled makes what a settlement of the running attempt leaves.
func (m *model) settled(run *modelRun, s lock.Settlement) *modelRun {
	next := *run
	next.ended = map[int64]lock.End{s.Grant.Fence: s.End}
	for fence, end := range run.ended {
		next.ended[fence] = end
	}
	next.notBefore, next.retention = 0, s.Retention
	next.until = sum(m.now, max(s.Retention, run.lease, s.Delay), run.lease)
	switch {
	case s.End == lock.Returned:
		next.attempts--
		next.state = lock.JobFailed
	case s.End == lock.Done:
		next.state = lock.JobDone
	case s.End == lock.Exhausted:
		next.state, next.permanent = lock.JobExhausted, true
	case run.attempts >= run.max:
		next.state = lock.JobExhausted
	default:
		next.state, next.notBefore = lock.JobFailed, m.now+s.Delay
	}
	return &next
}

// seen tells whether info is what run must look like.
func (m *model) seen(id lock.JobID, run *modelRun, info lock.JobInfo) bool {
	h := m.held(id.Key)
	if info.ID != id || h == nil && info.TTL != 0 || h != nil && !m.lasts(info.TTL, h.end) {
		return false
	}
	if run == nil {
		return info.State == lock.JobAbsent && info.Attempt == 0 && info.Fence == 0
	}
	state := run.state
	switch {
	case state == lock.JobRunning && !m.holds(id, run):
		state = lock.JobFailed
	case state == lock.JobFailed && run.attempts == 0:
		state = lock.JobAbsent
	}
	return info.State == state && info.Attempt == run.attempts && info.Owner == run.owner && (info.Fence == run.fence || run.fence == anyFence) &&
		info.Permanent == run.permanent && info.NotBefore.IsZero() == (run.notBefore <= m.now) &&
		info.Attempts[len(info.Attempts)-1].End == m.endOf(id, run)
}

// endOf tells how the newest grant of a run ended.
func (m *model) endOf(id lock.JobID, run *modelRun) string {
	end, settled := run.ended[run.fence]
	switch {
	case settled:
		return end.String()
	case m.holds(id, run):
		return ""
	default:
		return "lapsed"
	}
}

// givenBack makes what is left of run when an attempt was granted and given back.
func (m *model) givenBack(run *modelRun, c lock.JobClaim) *modelRun {
	next := m.claimed(run, c, lock.Result{Fence: anyFence}, nil)
	next = m.settled(next, lock.Settlement{Grant: lock.Result{Fence: anyFence}, End: lock.Returned, Retention: c.Retention})
	return next
}

// anyFence stands for one that nobody was told.
const anyFence = -1
