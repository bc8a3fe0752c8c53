package workerotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Tracer is a lock.Tracer and a worker.StepTracer.
type Tracer struct{ tracer trace.Tracer }

var _ worker.StepTracer = (*Tracer)(nil)

// New makes a Tracer whose spans go to a provider. Nil is the global one.
func New(provider trace.TracerProvider) *Tracer {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return &Tracer{provider.Tracer("github.com/lockingworker/lockingworker/contrib/workerotel")}
}

// Start begins the span of a Locker's operation. A lease has none: it may be kept for weeks.
func (t *Tracer) Start(ctx context.Context, op string, resources int) (context.Context, func(lock.Results, error)) {
	if op == "lease" {
		return ctx, func(lock.Results, error) {}
	}
	ctx, span := t.tracer.Start(ctx, op, trace.WithAttributes(attribute.Int("lockingworker.resources", resources)))
	return ctx, func(rs lock.Results, err error) {
		defer span.End()
		if !span.IsRecording() {
			return
		}
		if len(rs) == 1 {
			span.SetAttributes(known(
				text("resource", rs[0].Resource), text("owner", rs[0].Owner), fence(rs[0].Fence))...)
		}
		refused, failed := 0, err != nil && len(rs) == 0
		for i := range rs {
			switch e := rs[i].Err; {
			case e == nil:
			case claiming[op] && refusal(e) != "":
				refused++
			default:
				failed = true
			}
		}
		if refused > 0 {
			span.SetAttributes(attribute.Int("lockingworker.refused", refused))
		}
		if refused == 1 && len(rs) == 1 {
			span.SetAttributes(attribute.String("lockingworker.refusal", refusal(err)))
		}
		if failed || refused == 0 {
			fail(span, err)
		}
	}
}

// StartStep begins the span of a Worker's operation.
func (t *Tracer) StartStep(ctx context.Context, step worker.Step) (context.Context, func(worker.Step, error)) {
	ctx, span := t.tracer.Start(ctx, step.Op, trace.WithAttributes(attributesOf(step)...))
	return ctx, func(step worker.Step, err error) {
		defer span.End()
		if !span.IsRecording() {
			return
		}
		span.SetAttributes(attributesOf(step)...)
		switch why := refusal(err); {
		case step.Op == "acquire" && why != "":
			span.SetAttributes(attribute.String("lockingworker.refusal", why))
		case step.Outcome == worker.HeldElsewhere || step.Outcome == worker.Interrupted:
		default:
			fail(span, err)
		}
	}
}
