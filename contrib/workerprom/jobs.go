package workerprom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Ends of attempts: those of lock.End that are reported, and one more.
const (
	done     = "done"
	failed   = "failed"
	returned = "returned"
	lost     = "lost"
)

// handlers counts what the handlers are told, before they are.
func (m *Metrics) handlers(h worker.Handlers, kind string) worker.Handlers {
	attempts := m.attempts.WithLabelValues(kind)
	h.OnAcquired = both(attempts, h.OnAcquired)
	h.OnDone = both(m.ends.WithLabelValues(kind, done), h.OnDone)
	h.OnLost = both(m.ends.WithLabelValues(kind, lost), h.OnLost)

	failures, onFailed := m.ends.WithLabelValues(kind, failed), h.OnFailed
	h.OnFailed = func(a worker.Attempt, err error) {
		failures.Inc()
		if onFailed != nil {
			onFailed(a, err)
		}
	}

	outcomes, onResult := make(map[worker.Outcome]prometheus.Counter), h.OnResult
	for o := range worker.Interrupted + 1 {
		outcomes[o] = m.outcomes.WithLabelValues(kind, o.String())
	}
	h.OnResult = func(r worker.Result) {
		if c := outcomes[r.Outcome]; c != nil {
			c.Inc()
		}
		if onResult != nil {
			onResult(r)
		}
	}

	troubles, onError := count(m.troubles.MustCurryWith(prometheus.Labels{"kind": kind}), troubleReasons), h.OnError
	h.OnError = func(job worker.Job, err error) {
		inc(troubles, err)
		if onError != nil {
			onError(job, err)
		}
	}
	return h
}

func both(c prometheus.Counter, then func(worker.Attempt)) func(worker.Attempt) {
	return func(a worker.Attempt) {
		c.Inc()
		if then != nil {
			then(a)
		}
	}
}

// workTracer counts what no handler is told.
type workTracer struct {
	next     lock.Tracer // the user's, or nil
	running  prometheus.Gauge
	work     prometheus.Observer
	returned prometheus.Counter
}

func (m *Metrics) workTracer(next lock.Tracer, kind string) *workTracer {
	return &workTracer{
		next:     next,
		running:  m.running.WithLabelValues(kind),
		work:     m.work.WithLabelValues(kind),
		returned: m.ends.WithLabelValues(kind, returned),
	}
}

// Start is never called by a worker, which calls StartStep.
func (t *workTracer) Start(ctx context.Context, op string, resources int) (context.Context, func(lock.Results, error)) {
	if t.next == nil {
		return ctx, func(lock.Results, error) {}
	}
	return t.next.Start(ctx, op, resources)
}

func (t *workTracer) StartStep(ctx context.Context, step worker.Step) (context.Context, func(worker.Step, error)) {
	ctx, end := step.Start(ctx, t.next)
	switch step.Op {
	case "work":
		t.running.Inc()
		began := time.Now()
		return ctx, func(s worker.Step, err error) {
			t.running.Dec()
			t.work.Observe(time.Since(began).Seconds())
			end(s, err)
		}
	case "settle":
		return ctx, func(s worker.Step, err error) {
			if err == nil && s.End == lock.Returned {
				t.returned.Inc()
			}
			end(s, err)
		}
	default:
		return ctx, end
	}
}
