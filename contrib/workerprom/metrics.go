package workerprom

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// Metrics is a prometheus.Collector of what the Lockers and Workers do that it has made. The package's
// documentation lists its metrics. Every one is there, with all values of its labels, as soon as there is
// something to count: before the first grant, it is 0.
type Metrics struct {
	grants   prometheus.Counter
	refusals []counted
	wait     prometheus.Histogram
	hold     prometheus.Histogram
	losses   prometheus.Counter
	errors   []counted

	attempts *prometheus.CounterVec
	ends     *prometheus.CounterVec
	running  *prometheus.GaugeVec
	work     *prometheus.HistogramVec
	outcomes *prometheus.CounterVec
	troubles *prometheus.CounterVec

	all []prometheus.Collector

	mu      sync.Mutex
	lockers []*lock.Locker
}

// buckets are for the whole width of what happens: a lock that is free is granted within a millisecond, and
// work may take hours. So the steps are wide, and their bounds are the times that something follows from:
// 1 s, within which a waiter looks by itself if a message was lost, and the lease times that are the
// defaults, of worker (5 s) and of lock (30 s). A Prometheus that takes native histograms gets those, too,
// which are exact to a tenth.
var buckets = []float64{.001, .005, .025, .1, .5, 1, 5, 30, 120, 600, 3600, 21600}

// New makes a Metrics that is to be registered, once:
//
//	prometheus.MustRegister(metrics)
func New() *Metrics {
	m := &Metrics{
		grants:   prometheus.NewCounter(counter("lock", "grants_total", "Locks that were granted, those of jobs too.")),
		wait:     prometheus.NewHistogram(histogram("lock", "wait_seconds", "How long calls took that were granted something, from the call to the grant.")),
		hold:     prometheus.NewHistogram(histogram("lock", "hold_seconds", "How long kept leases were held, whatever ended them.")),
		losses:   prometheus.NewCounter(counter("lock", "losses_total", "Kept leases that ended before they were released.")),
		attempts: prometheus.NewCounterVec(counter("worker", "attempts_total", "Attempts that were granted."), []string{"kind"}),
		ends: prometheus.NewCounterVec(counter("worker", "attempts_ended_total", "Attempts that ended, by how."),
			[]string{"kind", "end"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts(counter("worker", "running", "Works that are running.")), []string{"kind"}),
		work: prometheus.NewHistogramVec(histogram("worker", "work_seconds", "How long works ran, whatever came of them."),
			[]string{"kind"}),
		outcomes: prometheus.NewCounterVec(counter("worker", "outcomes_total", "Runs of jobs that ended for this process, by outcome."),
			[]string{"kind", "outcome"}),
		troubles: prometheus.NewCounterVec(counter("worker", "errors_total", "What went wrong beside the works, by reason."),
			[]string{"kind", "reason"}),
	}
	refusals := prometheus.NewCounterVec(counter("lock", "refusals_total", "Claims that were not granted, by reason."), []string{"reason"})
	errs := prometheus.NewCounterVec(counter("lock", "errors_total", "Calls that failed for resources, and those that failed as a whole, by reason."),
		[]string{"reason"})
	m.refusals, m.errors = count(refusals, refusalReasons), count(errs, errorReasons)
	m.all = []prometheus.Collector{
		m.grants, refusals, m.wait, m.hold, m.losses, errs,
		m.attempts, m.ends, m.running, m.work, m.outcomes, m.troubles,
		m.gauge("leases", "Leases that are kept.", func(all []lock.Stats) (v float64) {
			for _, s := range all {
				v += float64(s.Leases)
			}
			return v
		}),
		m.gauge("waiters", "Calls that wait for a lock.", func(all []lock.Stats) (v float64) {
			for _, s := range all {
				v += float64(s.Waiters)
			}
			return v
		}),
		m.gauge("renewal_lag_seconds", "How late the last batch of renewals was answered, counted from when it was due.",
			func(all []lock.Stats) (v float64) {
				for _, s := range all {
					v = max(v, s.RenewalLag.Seconds())
				}
				return v
			}),
		prometheus.NewCounterFunc(counter("lock", "renewal_errors_total", "Batches of renewals that failed; their leases are tried again until they are lost."),
			func() (v float64) {
				for _, s := range m.stats() {
					v += float64(s.RenewalErrors)
				}
				return v
			}),
	}
	return m
}

func counter(subsystem, name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: "lockingworker", Subsystem: subsystem, Name: name, Help: help}
}

func histogram(subsystem, name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: "lockingworker", Subsystem: subsystem, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func (m *Metrics) gauge(name, help string, of func([]lock.Stats) float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts(counter("lock", name, help)), func() float64 { return of(m.stats()) })
}

// stats asks each Locker.
func (m *Metrics) stats() []lock.Stats {
	m.mu.Lock()
	lockers := slices.Clone(m.lockers)
	m.mu.Unlock()
	all := make([]lock.Stats, len(lockers))
	for i, l := range lockers {
		all[i] = l.Stats()
	}
	return all
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(to)
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(to)
	}
}

// Locker is lock.New, and counts. A Tracer in cfg is told of everything, as before.
func (m *Metrics) Locker(rdb redis.UniversalClient, cfg lock.Config) (*lock.Locker, error) {
	cfg.Tracer = &lockTracer{m: m, next: cfg.Tracer}
	l, err := lock.New(rdb, cfg)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lockers = append(m.lockers, l)
	return l, nil
}

// Worker is worker.New, and counts. The kind is the label of its metrics: what work it is for, a word that
// stands in the program; never a job's key. It may be empty where there is one kind only. The Handlers and
// the Tracer in cfg are told of everything, as before.
func (m *Metrics) Worker(l *lock.Locker, cfg worker.Config, kind string) (*worker.Worker, error) {
	if cfg.Tracer == nil && l != nil {
		cfg.Tracer = l.Tracer()
	}
	cfg.Tracer = m.workTracer(cfg.Tracer, kind)
	cfg.Handlers = m.handlers(cfg.Handlers, kind)
	return worker.New(l, cfg)
}
