package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/lockingworker/lockingworker/lock"
)

// tick is what the clock is moved by, or a multiple of it.
const tick = 10 * time.Second

// A deed is one call on some resources, drawn but not made yet.
type deed struct {
	name  string
	grant bool // what it gets is given back if its caller leaves
	call  func(ctx context.Context, l *lock.Locker) error
	check func(m *model, lost int) error // moves the model on; requests or replies were lost

	// What may have become of it where its caller was not told.
	names          []string
	frees, extends bool
	runs           func(m *model) map[lock.JobID][]*modelRun
}

// errUnknown says that a deed's outcome must be looked up.
var errUnknown = errors.New("look it up")

var (
	owners    = rapid.SampledFrom([]string{"a", "b", "\x00", "\xff"})
	leases    = rapid.SampledFrom([]time.Duration{tick / 2, 3 * tick / 2, 5 * tick / 2, 13 * tick / 2, 2*time.Hour + tick/2, lock.NoExpiry})
	jobLeases = rapid.SampledFrom([]time.Duration{tick / 2, 3 * tick / 2, 13 * tick / 2})
	keeping   = rapid.SampledFrom([]time.Duration{0, tick / 2, 5 * tick / 2, 10 * time.Hour, lock.NoExpiry})
	delays    = rapid.SampledFrom([]time.Duration{0, tick / 2, 5 * tick / 2, 13 * tick / 2})
	maxima    = rapid.SampledFrom([]int{1, 2, 3, 3, 4})
	lockEnds  = rapid.SampledFrom([]lock.End{lock.Done, lock.Failed, lock.Failed, lock.Exhausted, lock.Returned})
	runNames  = rapid.SampledFrom([]string{"", "\xff"})
)

// some draws at least one of the names, in any order.
func some(t *rapid.T, names []string) []string {
	order := rapid.Permutation(names).Draw(t, "names")
	return order[:rapid.IntRange(1, len(order)).Draw(t, "how many")]
}

func claimsOf(t *rapid.T, m *model, names []string, locking bool) []lock.Claim {
	claims := make([]lock.Claim, len(names))
	same := rapid.Bool().Draw(t, "same") // owner and lease, as in most collections
	owner, ttl := owners.Draw(t, "owner"), leases.Draw(t, "lease")
	for i, name := range names {
		if !same {
			owner, ttl = owners.Draw(t, "owner"), leases.Draw(t, "lease")
		}
		claims[i] = lock.Claim{Resource: name, Owner: owner}
		if h := m.locks[name]; h != nil && !locking {
			switch rapid.SampledFrom([]string{"anybody", "owner", "grant", "grant", "fence", "past", "past fence"}).Draw(t, "whose") {
			case "owner":
				claims[i].Owner = h.owner
			case "grant": // perhaps lapsed
				claims[i] = h.claim
			case "fence":
				claims[i].Owner, claims[i].Fence = h.owner, h.fence
			case "past":
				claims[i] = h.past
			case "past fence":
				claims[i].Owner, claims[i].Fence = h.past.Owner, h.past.Fence
			}
		}
		claims[i].TTL = ttl
	}
	return claims
}

func locking(t *rapid.T, m *model, names []string) *deed {
	var rs lock.Results
	s := &deed{name: rapid.SampledFrom([]string{"TryLock", "TryLockAll", "ForceLock"}).Draw(t, "op"), grant: true}
	s.names, s.frees = some(t, names), s.name == "ForceLock"
	claims := claimsOf(t, m, s.names, true)
	s.call = func(ctx context.Context, l *lock.Locker) (err error) {
		switch s.name {
		case "TryLock":
			rs, err = l.TryLock(ctx, claims...)
		case "TryLockAll":
			rs, err = l.TryLockAll(ctx, claims...)
		default:
			rs, err = l.ForceLock(ctx, claims...)
		}
		return err
	}
	s.check = func(m *model, _ int) error {
		floor := m.fence
		barred := false
		for _, c := range claims {
			barred = barred || m.held(c.Resource) != nil
		}
		for i, c := range claims {
			var err error
			switch {
			case s.name != "ForceLock" && m.held(c.Resource) != nil:
				err = m.refused(rs[i], lock.ErrHeld)
			case s.name == "TryLockAll" && barred:
				err = m.refused(rs[i], lock.ErrAborted)
			default:
				err = m.granted(c, c.TTL, rs[i], floor)
			}
			if err != nil {
				return fmt.Errorf("%s: result %d: %w", s.name, i, err)
			}
		}
		return nil
	}
	return s
}

func changing(t *rapid.T, m *model, names []string) *deed {
	var rs lock.Results
	s := &deed{name: rapid.SampledFrom([]string{"Extend", "Unlock", "ForceUnlock"}).Draw(t, "op")}
	names = some(t, names)
	s.names, s.frees, s.extends = names, s.name != "Extend", s.name == "Extend"
	claims := claimsOf(t, m, names, false)
	s.call = func(ctx context.Context, l *lock.Locker) (err error) {
		switch s.name {
		case "Extend":
			rs, err = l.Extend(ctx, claims...)
		case "Unlock":
			rs, err = l.Unlock(ctx, claims...)
		default:
			rs, err = l.ForceUnlock(ctx, names...)
		}
		return err
	}
	s.check = func(m *model, lost int) error {
		for i, c := range claims {
			h := m.held(c.Resource)
			want := h.means(c)
			if s.name == "ForceUnlock" && h != nil {
				want = nil
			}
			r := rs[i]
			var err error
			switch {
			case s.name != "Extend" && lost > 0 && errors.Is(r.Err, lock.ErrOutcomeUnknown):
				return errUnknown
			case want == nil && r.Err == nil && s.name == "Extend":
				h.end = max(h.end, m.after(c.TTL))
				if r.Owner != h.owner || r.Fence != h.fence || !m.lasts(r.TTL, h.end) {
					err = fmt.Errorf("%+v, want %+v", r, *h)
				}
				h.claim = lock.Results{r}.Claims()[0]
			case want == nil && r.Err == nil:
				m.release(c.Resource)
			case want != nil && r.Err == nil && s.name != "Extend" && lost > 0:
				// Gone, or another's: an earlier send may have done it, for all it knows.
			case want != nil:
				err = m.refused(r, want)
			default:
				err = fmt.Errorf("%+v, want %+v", r, *h)
			}
			if err != nil {
				return fmt.Errorf("%s: result %d of %+v: %w", s.name, i, c, err)
			}
		}
		return nil
	}
	return s
}

func reading(t *rapid.T, _ *model, names []string) *deed {
	var rs lock.Results
	s := &deed{name: "Owners"}
	names = some(t, names)
	s.names = names
	s.call = func(ctx context.Context, l *lock.Locker) (err error) { rs, err = l.Owners(ctx, names...); return err }
	s.check = func(m *model, _ int) error {
		for _, r := range rs {
			if r.Err != nil || !m.shows(r) {
				return fmt.Errorf("Owners: %+v, want %+v", r, m.held(r.Resource))
			}
		}
		return nil
	}
	return s
}

func claiming(t *rapid.T, m *model, names []string) *deed {
	var rs []lock.JobResult
	s := &deed{name: "Claim", grant: true}
	var claims []lock.JobClaim
	free := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return m.held(name) != nil })
	if len(free) > 0 && rapid.IntRange(0, 3).Draw(t, "any") > 0 {
		names = free
	}
	for _, name := range some(t, names) {
		id := lock.JobID{Key: name, Run: runNames.Draw(t, "run")}
		if m.runs[id] == nil && rapid.Bool().Draw(t, "another run") {
			id.Run = runNames.Draw(t, "run")
		}
		claims = append(claims, lock.JobClaim{
			ID: id, Owner: owners.Draw(t, "owner"),
			TTL: jobLeases.Draw(t, "lease"), Retention: keeping.Draw(t, "retention"), MaxAttempts: maxima.Draw(t, "max"),
		})
	}
	s.runs = func(m *model) map[lock.JobID][]*modelRun {
		may := map[lock.JobID][]*modelRun{}
		for _, c := range claims {
			for _, run := range m.views(c.ID) {
				may[c.ID] = append(may[c.ID], run)
				switch want := m.claimable(run, c); {
				case want == nil:
					may[c.ID] = append(may[c.ID], m.givenBack(run, c))
				case errors.Is(want, lock.ErrJobExhausted):
					may[c.ID] = append(may[c.ID], m.claimed(run, c, lock.Result{}, want))
				}
			}
		}
		return may
	}
	s.call = func(ctx context.Context, l *lock.Locker) (err error) {
		rs, err = l.Jobs().Claim(ctx, claims...)
		return err
	}
	s.check = func(m *model, _ int) error {
		floor := m.fence
		for i, c := range claims {
			if err := m.answers(c, rs[i], floor); err != nil {
				return fmt.Errorf("Claim: result %d of %+v: %w", i, c, err)
			}
		}
		return nil
	}
	return s
}

// answers checks the answer to a claim.
func (m *model) answers(c lock.JobClaim, r lock.JobResult, floor int64) error {
	var problems []error
	before, fence := m.locks[c.ID.Key], m.fence
	for _, run := range m.views(c.ID) {
		m.locks[c.ID.Key], m.fence = before, fence
		want := m.claimable(run, c)
		var err error
		switch {
		case want == nil:
			err = m.granted(lock.Claim{Resource: c.ID.Key, Owner: c.Owner}, c.TTL, r.Grant, floor)
		case !errors.Is(r.Grant.Err, want):
			err = fmt.Errorf("%+v, want %w of %+v", r, want, run)
		case errors.Is(want, lock.ErrHeld) && !m.shows(r.Grant):
			err = fmt.Errorf("%+v, want %+v", r, m.held(c.ID.Key))
		}
		next := m.claimed(run, c, r.Grant, want)
		if err == nil && !m.seen(c.ID, next, r.Job) {
			err = fmt.Errorf("%+v, want %+v", r.Job, next)
		}
		if err == nil {
			if m.runs[c.ID] = next; next == nil {
				delete(m.runs, c.ID)
			}
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func ending(t *rapid.T, m *model, names []string) *deed {
	var rs lock.Results
	s := &deed{name: "Settle"}
	var ss []lock.Settlement
	working := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return m.working(name) == nil })
	if len(working) > 0 && rapid.IntRange(0, 3).Draw(t, "any") > 0 {
		names = working
	}
	for _, name := range some(t, names) {
		id := lock.JobID{Key: name, Run: runNames.Draw(t, "run")}
		if at := m.working(name); at != nil && rapid.IntRange(0, 3).Draw(t, "this run") > 0 {
			id = *at
		}
		fence := int64(1)
		if run := m.runs[id]; run != nil {
			fence = run.fence
			if rapid.IntRange(0, 4).Draw(t, "older") == 0 {
				for f := range run.ended {
					fence = min(fence, f)
				}
			}
		}
		x := lock.Settlement{
			Grant: lock.Result{Resource: name, Fence: fence}, ID: id, End: lockEnds.Draw(t, "end"),
			Retention: keeping.Draw(t, "retention"), Cause: "why",
		}
		if x.End == lock.Failed {
			x.Delay = delays.Draw(t, "delay")
		}
		ss = append(ss, x)
	}
	s.frees = true
	s.runs = func(m *model) map[lock.JobID][]*modelRun {
		may := map[lock.JobID][]*modelRun{}
		for _, x := range ss {
			s.names = append(s.names, x.ID.Key)
			may[x.ID] = m.views(x.ID)
			if run := m.runs[x.ID]; m.holds(x.ID, run) && run.fence == x.Grant.Fence {
				may[x.ID] = append(may[x.ID], m.settled(run, x))
			}
		}
		return may
	}
	s.call = func(ctx context.Context, l *lock.Locker) (err error) {
		rs, err = l.Jobs().Settle(ctx, ss...)
		return err
	}
	s.check = func(m *model, lost int) error {
		for i, x := range ss {
			if lost > 0 && errors.Is(rs[i].Err, lock.ErrOutcomeUnknown) {
				return errUnknown
			}
			run := m.runs[x.ID]
			switch {
			case m.holds(x.ID, run) && run.fence == x.Grant.Fence && rs[i].Err == nil:
				m.runs[x.ID] = m.settled(run, x)
				m.release(x.ID.Key)
			case m.holds(x.ID, run) && run.fence == x.Grant.Fence:
				return fmt.Errorf("Settle: %+v is %+v", x, rs[i])
			case run != nil && run.ended[x.Grant.Fence] == x.End && (rs[i].Err == nil || m.until(x.ID, run) <= m.now):
			case !errors.Is(rs[i].Err, lock.ErrLeaseLost):
				return fmt.Errorf("Settle: %+v of %+v is %+v", x, run, rs[i])
			}
		}
		return nil
	}
	return s
}

func looking(t *rapid.T, _ *model, names []string) *deed {
	var infos []lock.JobInfo
	s := &deed{name: "Get"}
	var ids []lock.JobID
	for _, name := range some(t, names) {
		ids = append(ids, lock.JobID{Key: name, Run: runNames.Draw(t, "run")})
	}
	s.call = func(ctx context.Context, l *lock.Locker) (err error) {
		infos, err = l.Jobs().Get(ctx, ids...)
		return err
	}
	s.check = func(m *model, _ int) error { return m.remembers(infos) }
	return s
}

// remembers checks what is told of runs.
func (m *model) remembers(infos []lock.JobInfo) error {
	for _, info := range infos {
		ok := false
		for _, run := range m.views(info.ID) {
			ok = ok || m.seen(info.ID, run, info)
		}
		if !ok {
			return fmt.Errorf("Get: %+v, want %+v under %+v", info, m.runs[info.ID], m.held(info.ID.Key))
		}
	}
	return nil
}

func resetting(t *rapid.T, _ *model, names []string) *deed {
	var err error
	s := &deed{name: "Reset"}
	id := lock.JobID{Key: some(t, names)[0], Run: runNames.Draw(t, "run")}
	s.runs = func(m *model) map[lock.JobID][]*modelRun {
		return map[lock.JobID][]*modelRun{id: append(m.views(id), nil)}
	}
	s.call = func(ctx context.Context, l *lock.Locker) error { err = l.Jobs().Reset(ctx, id); return err }
	s.check = func(m *model, lost int) error {
		switch {
		case lost > 0 && errors.Is(err, lock.ErrOutcomeUnknown):
			return errUnknown
		case m.holds(id, m.runs[id]):
			if !errors.Is(err, lock.ErrHeld) {
				return fmt.Errorf("Reset of what is held: %w", err)
			}
		case err != nil:
			return fmt.Errorf("Reset: %w", err)
		default:
			delete(m.runs, id)
		}
		return nil
	}
	return s
}
