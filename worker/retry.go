package worker

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// HandOver is a Config.RetryDelay: none. The next worker in the queue starts as soon as an attempt has
// failed, as in redis-locking-worker.
func HandOver(Attempt, error) time.Duration { return 0 }

// Backoff makes a Config.RetryDelay of a backoff policy. The delay after the n-th attempt is the n-th
// of a new policy that b makes, so it depends on the attempt's number alone, whichever process made the
// attempts before it; a limit on the elapsed time has therefore no meaning here. Where the policy says
// backoff.Stop within the first n, as backoff.WithMaxRetries does, the failure is permanent.
//
// b may be called from several goroutines at once. A nil b is the default.
func Backoff(b func() backoff.BackOff) func(Attempt, error) time.Duration {
	if b == nil {
		return defaultRetryDelay
	}
	return func(a Attempt, _ error) time.Duration {
		policy := b()
		policy.Reset()
		var delay time.Duration
		for n := 0; n < a.Number && delay != backoff.Stop; n++ {
			delay = policy.NextBackOff()
		}
		return delay
	}
}

// defaultRetryDelay stays at or below 30s: the policy jitters after it has cut at its maximum.
func defaultRetryDelay(a Attempt, err error) time.Duration {
	a.Number = min(a.Number, 10) // the maximum is reached by then
	return Backoff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(100*time.Millisecond),
			backoff.WithMultiplier(2),
			backoff.WithMaxInterval(25*time.Second),
			backoff.WithRandomizationFactor(0.2),
			backoff.WithMaxElapsedTime(0),
		)
	})(a, err)
}

// Permanent marks an error as one that no other attempt would mend: the job's run is exhausted at once,
// until Reset. It is backoff.Permanent, whose errors count as well when they come from elsewhere, also
// wrapped. Permanent(nil) is nil.
func Permanent(err error) error { return backoff.Permanent(err) }

func isPermanent(err error) bool {
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}

// unavailable is how often a call is repeated that Redis cannot serve now, as long as its context lasts.
func unavailable() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
}
