package worker

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// session is one call of Run or of Acquire, or one job of RunAll: what it knows of its job, and what it
// tells of it. All that outlives a process is in Redis; a session dies with its call.
type session struct {
	w      *Worker
	job    Job
	log    *zap.Logger
	caller *caller

	mu       sync.Mutex // looks come on the Locker's goroutines
	progress progress
	patience *patience // while a claim waits
	holder   *holder   // whom OnLocked was told of last
	last     Attempt   // the last grant; zero if there was none
	failure  error     // why that attempt failed, if that is recorded
	pending  error     // why its end could not be recorded, if it is not known whether it was
}

type holder struct {
	owner string
	fence int64
}

func (w *Worker) begin(job Job, c *caller) *session {
	log := w.cfg.Logger
	if log.Core().Enabled(zapcore.FatalLevel) { // otherwise nobody reads it
		log = log.With(zap.String("key", job.Key), zap.String("run", job.Run.Name))
	}
	return &session{w: w, job: job, log: log, caller: c}
}

// end reports the job's result.
func (s *session) end(outcome Outcome, err error) Result {
	result := Result{Job: s.job, Outcome: outcome, Attempts: s.progress.attempt, Err: err}
	if line := s.log.Check(zap.InfoLevel, "run ended"); line != nil {
		line.Write(zap.Stringer("outcome", outcome), zap.Int("attempts", result.Attempts), zap.Error(err))
	}
	if f := s.w.cfg.Handlers.OnResult; f != nil {
		s.push("OnResult", func() { f(result) })
	}
	return result
}

// push has a handler called.
func (s *session) push(handler string, f func()) {
	s.caller.push(call{s: s, handler: handler, f: f})
}

// look is told by the Locker what a waiting claim does.
func (s *session) look(look lock.Look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patience == nil {
		return // the claim has been answered
	}
	switch {
	case look.Again:
		s.emit(s.progress.again())
	case look.Err != nil:
		s.trouble(look.Err)
	default:
		s.refused(look.Result)
	}
}

// refused is an answer that another has the lock, or that it is too early. s.mu is held.
func (s *session) refused(answer lock.JobResult) {
	s.emit(s.progress.refused(answer))
	grant := answer.Grant
	fence := grant.Fence
	if errors.Is(grant.Err, lock.ErrTooEarly) {
		fence = answer.Job.Fence
	} else {
		s.locked(holder{grant.Owner, grant.Fence})
	}
	// Neither the delay after an own failure nor an own lease that runs out is another's.
	if s.last.Fence == 0 || fence != s.last.Fence {
		s.patience.begin()
	}
}

// locked tells OnLocked of a holder that it was not told of before. s.mu is held.
func (s *session) locked(h holder) {
	if s.holder != nil && (h == *s.holder || h.owner == "") {
		return
	}
	s.holder = &h
	s.log.Debug("locked by another", zap.String("holder", h.owner))
	if f := s.w.cfg.Handlers.OnLocked; f != nil {
		s.push("OnLocked", func() { f(s.job, h.owner) })
	}
}

// emit passes on those events that the level enables. s.mu is held, which keeps them in order.
func (s *session) emit(events []status.Event) {
	f := s.w.cfg.Handlers.OnStatus
	if f == nil {
		return
	}
	for _, event := range events {
		event = s.complete(event)
		if s.w.cfg.StatusLevel.Enabled(event.Level) {
			s.caller.push(call{s: s, handler: "OnStatus", status: true, f: func() { f(event) }})
		}
	}
}

func (s *session) complete(event status.Event) status.Event {
	event.Time = time.Now()
	event.Level = event.Kind.Level()
	event.Key, event.Run, event.Worker = s.job.Key, s.job.Run.Name, s.w.owner
	event.Max = s.w.cfg.MaxAttempts
	return event
}

// eventsDropped runs where the handlers do. There was a status event, so there is an OnStatus.
func (s *session) eventsDropped(n int) {
	s.mu.Lock()
	event := s.complete(status.Event{Kind: status.KindDropped, Dropped: n})
	s.mu.Unlock()
	s.w.cfg.Handlers.OnStatus(event)
}

// trouble reports what goes wrong beside the work.
func (s *session) trouble(err error) {
	s.log.Warn("trouble", zap.Error(err))
	if f := s.w.cfg.Handlers.OnError; f != nil {
		s.push("OnError", func() { f(s.job, err) })
	}
}

func (s *session) reportDone(a Attempt) {
	s.log.Info("attempt completed", a.fields()...)
	if f := s.w.cfg.Handlers.OnDone; f != nil {
		s.push("OnDone", func() { f(a) })
	}
}

func (s *session) reportFailed(a Attempt, err error) {
	s.log.Warn("attempt failed", append(a.fields(), zap.Error(err))...)
	if f := s.w.cfg.Handlers.OnFailed; f != nil {
		s.push("OnFailed", func() { f(a, err) })
	}
}

func (s *session) reportLost(a Attempt) {
	s.log.Warn("lease lost", a.fields()...)
	if f := s.w.cfg.Handlers.OnLost; f != nil {
		s.push("OnLost", func() { f(a) })
	}
}

// reportExhausted reports that no attempt is left; events are the steps up to that.
func (s *session) reportExhausted(err *ExhaustedError, events []status.Event) {
	for i := range events {
		events[i].Err = err
	}
	s.mu.Lock()
	s.emit(events)
	s.mu.Unlock()
	s.log.Warn("exhausted", zap.Int("attempts", err.Attempts), zap.String("cause", err.Cause))
	if f := s.w.cfg.Handlers.OnMaxAttempts; f != nil {
		s.push("OnMaxAttempts", func() { f(s.job, err) })
	}
}
