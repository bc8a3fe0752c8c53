// Package workerprom counts for Prometheus what the Lockers and Workers of a process do.
//
// It knows this process only. What a process that died had begun is in nobody's counts, and sums over all
// processes are estimates, as with all of Prometheus: how often a job was attempted and what came of it stands
// in Redis, and Worker.State reads it.
//
//	metrics := workerprom.New()
//	prometheus.MustRegister(metrics)
//	locker, err := metrics.Locker(rdb, lock.Config{})             // instead of lock.New
//	w, err := metrics.Worker(locker, worker.Config{}, "reports")  // instead of worker.New
//
// Tracers and Handlers in the Configs are called as without it. Names of resources, jobs, runs and owners never
// become labels. The label kind is what the program calls the work of a Worker; other labels can be put to all
// metrics with prometheus.WrapRegistererWith.
//
//	lockingworker_lock_grants_total                  locks that were granted, those of jobs too
//	lockingworker_lock_refusals_total                reason; claims that were not granted
//	lockingworker_lock_wait_seconds                  how long calls took that were granted something
//	lockingworker_lock_hold_seconds                  how long kept leases were held
//	lockingworker_lock_losses_total                  kept leases that ended before they were released
//	lockingworker_lock_errors_total                  reason; what failed otherwise
//	lockingworker_lock_leases                        leases that are kept now
//	lockingworker_lock_waiters                       calls that wait now
//	lockingworker_lock_renewal_lag_seconds           how late renewals are: lock.Stats
//	lockingworker_lock_renewal_errors_total          batches of renewals that failed
//	lockingworker_worker_attempts_total              kind; attempts that were granted
//	lockingworker_worker_attempts_ended_total        kind, end: done, failed, returned (uncounted, by an interruption), lost
//	lockingworker_worker_running                     kind; works that run now
//	lockingworker_worker_work_seconds                kind; how long they ran
//	lockingworker_worker_outcomes_total              kind, outcome: of Run, and of each job of RunAll
//	lockingworker_worker_errors_total                kind, reason; what OnError is told
//
// Refusals are claims that another's lock, a delay, or an outcome stood in the way of; that is how a cluster works, and no
// error. Calls that waited and were granted in the end have no refusal. wait_seconds has one observation for each
// call, however many resources it was for. An attempt whose end could not be recorded has none here either; then
// errors_total has outcome-unknown or unavailable.
//
// The histograms have classic buckets from 1 ms to 6 h, and native ones where Prometheus asks for them.
//
// dashboard.json, beside this file, is a Grafana dashboard of all of it. What to alert on is in docs/operations.md.
package workerprom
