package workerotel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// attributesOf returns what is known of a step.
func attributesOf(step worker.Step) []attribute.KeyValue {
	a := step.Attempt
	all := known(text("key", a.Job.Key), text("run", a.Job.Run.Name), text("owner", step.Owner), fence(a.Fence))
	all = append(all, attribute.Int("lockingworker.max", a.Max))
	if a.Number > 0 {
		all = append(all, attribute.Int("lockingworker.attempt", a.Number))
	}
	if step.End != 0 {
		all = append(all, attribute.String("lockingworker.end", step.End.String()))
	}
	if step.Outcome != 0 {
		all = append(all, attribute.String("lockingworker.outcome", step.Outcome.String()))
	}
	return all
}

func text(name, value string) attribute.KeyValue {
	return attribute.String("lockingworker."+name, valid(value))
}

// fence is a string: larger than the integers that readers of JSON keep exactly.
func fence(n int64) attribute.KeyValue {
	if n == 0 {
		return text("fence", "")
	}
	return text("fence", strconv.FormatInt(n, 10))
}

// known leaves out what is empty.
func known(all ...attribute.KeyValue) []attribute.KeyValue {
	some := all[:0]
	for _, a := range all {
		if a.Value.AsString() != "" {
			some = append(some, a)
		}
	}
	return some
}

// valid makes UTF-8 of a name, which may be any bytes: exporters may drop all that they have because of one.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// claiming are the operations that may be refused.
var claiming = map[string]bool{
	"TryLock": true, "TryLockAll": true, "ForceLock": true, "Do": true, "Hold": true, "TryHold": true,
	"Jobs.Claim": true, "Jobs.Await": true, "Jobs.TryAwait": true, "Jobs.TryAwaitAll": true, "Jobs.TryAwaitSome": true,
}

// refusal tells why a claim was refused; "" if it was not, or failed.
func refusal(err error) string {
	switch {
	case err == nil || errors.Is(err, lock.ErrUnavailable):
		return ""
	case errors.Is(err, lock.ErrJobDone):
		return "done"
	case errors.Is(err, lock.ErrJobExhausted):
		return "exhausted"
	case errors.Is(err, lock.ErrTooEarly):
		return "too-early"
	case errors.Is(err, lock.ErrAborted):
		return "aborted"
	case errors.Is(err, lock.ErrHeld):
		return "held"
	case errors.Is(err, lock.ErrEnough):
		return "enough"
	default:
		return ""
	}
}

// fail records an error, if there is one, and says that the span failed. It does what Span.RecordError does, with a
// text that can be exported, and with the stack of the panic itself.
func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	message, stack := fmt.Sprint(err), ""
	if p := (*worker.PanicError)(nil); errors.As(err, &p) {
		message, _, _ = strings.Cut(message, "\n")
		stack = string(p.Stack)
	}
	event := []attribute.KeyValue{
		attribute.String("exception.type", fmt.Sprintf("%T", err)),
		attribute.String("exception.message", valid(message)),
	}
	if stack != "" {
		event = append(event, attribute.String("exception.stacktrace", valid(stack)))
	}
	span.AddEvent("exception", trace.WithAttributes(event...))
	span.SetStatus(codes.Error, valid(message))
}
