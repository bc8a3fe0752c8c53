package worker

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
)

// NoWait as Config.MaxWait means that another's lock is not waited for: Run and Acquire claim once.
const NoWait time.Duration = -1

// Defaults of Config.
const (
	DefaultTTL         = 5 * time.Second
	DefaultMaxAttempts = 5
	DefaultConcurrency = 16
)

const maxConcurrency = 100_000

// Config says how a Worker works. The zero value is usable.
type Config struct {
	// TTL is the lease time of an attempt: so long after its worker died another one takes over.
	// While the work runs the lease is renewed, however long that takes. Default 5s; at least 10ms;
	// behind Sentinel or Cluster at least as long as a failover takes. lock.NoExpiry is an error:
	// nobody would ever replace a dead worker.
	TTL time.Duration

	// MaxAttempts is how many attempts one run of a job may have, all workers' counted together;
	// those given back do not count. Default 5; at least 1.
	MaxAttempts int

	// MaxWait is how long Run and Acquire wait, at each acquisition, for what another worker has: its
	// lock, an offer, the delay after its failure. It counts from the first answer that says so, so a
	// Redis that cannot be reached uses up nothing of it before that; an outage during the wait does
	// not stop it. The delay after a failure of one's own is no part of it. Default 0: as long as the
	// context lasts. NoWait: not at all.
	MaxWait time.Duration

	// WorkTimeout is how long one attempt may take from its grant. Then the work's context ends with
	// the cause ErrWorkTimeout, and an error that the work returns counts as a failed attempt. Work
	// that goes on all the same keeps its lock for one TTL more; then the lease is no longer renewed.
	// WorkTimeout + TTL must fit into a Duration. Default 0: none.
	WorkTimeout time.Duration

	// RetryDelay says how long after a failed attempt, which was not the last, no other may start;
	// err is why it failed. It runs on a goroutine of its own. A negative delay counts as none, but
	// backoff.Stop makes the failure permanent. Default: 100ms × 2ⁿ for n earlier attempts, up to
	// 25s, each ± 20 %. HandOver: none.
	RetryDelay func(a Attempt, err error) time.Duration

	// Concurrency is how many jobs RunAll works on at a time. Default 16; at least 1, at most 100,000.
	Concurrency int

	// StatusLevel is what Handlers.OnStatus is told. Default status.Normal.
	StatusLevel status.Level

	// Handlers observe. Default: none.
	Handlers Handlers

	// Tracer is told of acquire, work and settle, with job and attempt if it is a StepTracer. Default:
	// the Locker's, lock.Config.Tracer.
	Tracer lock.Tracer

	// Logger gets a line for every attempt that begins or ends, and for what goes wrong. Names are
	// quoted, fences are strings. Default: no output.
	Logger *zap.Logger
}

// complete checks the configuration and fills in the defaults. All that is wrong is joined into one
// error.
func (c Config) complete() (Config, error) {
	var errs []error
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	switch {
	case c.TTL == lock.NoExpiry:
		errs = append(errs, invalid("Config.TTL is NoExpiry: a dead worker would never be replaced"))
	case c.TTL < lock.MinTTL:
		errs = append(errs, invalid("Config.TTL %v: want at least %v", c.TTL, lock.MinTTL))
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	if c.MaxAttempts < 1 {
		errs = append(errs, invalid("Config.MaxAttempts %d: want at least 1", c.MaxAttempts))
	}
	if c.MaxWait < 0 && c.MaxWait != NoWait {
		errs = append(errs, invalid("Config.MaxWait %v: want NoWait, or 0 or more", c.MaxWait))
	}
	switch {
	case c.WorkTimeout < 0:
		errs = append(errs, invalid("Config.WorkTimeout %v: want 0 or more", c.WorkTimeout))
	case c.WorkTimeout > lock.NoExpiry-max(c.TTL, 0):
		errs = append(errs, invalid("Config.WorkTimeout %v + TTL %v: want at most %v", c.WorkTimeout, c.TTL, lock.NoExpiry))
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		errs = append(errs, invalid("Config.Concurrency %d: want 1 to %d", c.Concurrency, maxConcurrency))
	}
	if c.StatusLevel < status.Silent || c.StatusLevel > status.Verbose {
		errs = append(errs, invalid("Config.StatusLevel %v: want %v, %v or %v",
			c.StatusLevel, status.Silent, status.Normal, status.Verbose))
	}
	if c.RetryDelay == nil {
		c.RetryDelay = defaultRetryDelay
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, errors.Join(errs...)
}

// invalid makes an error that is lock.ErrInvalid, without that package's name in the text.
func invalid(format string, args ...any) error {
	return invalidError(fmt.Sprintf(format, args...))
}

type invalidError string

func (e invalidError) Error() string { return "worker: " + string(e) }
func (e invalidError) Unwrap() error { return lock.ErrInvalid }
