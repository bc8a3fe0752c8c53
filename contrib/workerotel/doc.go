// Package workerotel makes OpenTelemetry spans of what Workers and Lockers do.
//
// A trace is no proof: spans get sampled, dropped, and lost with the process that had begun them. What became of a
// job stands in Redis, and Worker.State reads it.
//
//	locker, err := lock.New(rdb, lock.Config{Tracer: workerotel.New(nil)})
//
// Every Worker on that Locker has the spans, too; for a Worker alone, without those of each call to Redis, give
// it to worker.Config.Tracer instead.
//
// Names of spans are those of the operations. A Worker's are in one trace for each Run, and what the work begins is
// part of its span:
//
//	run                        all of Run; of RunAll, one attempt
//	├── acquire                waits for an attempt
//	│   └── Jobs.Await         the Locker's part of it
//	├── work                   the Func: spans of its context are children
//	├── settle                 records what came of it
//	│   └── Jobs.Settle
//	└── acquire, work, settle  where it failed, once more
//
// Their attributes have the names that logs use, behind "lockingworker.":
//
//	key, run, owner            of the job, and who claims it
//	attempt, max               the number of the attempt, and how many there may be
//	fence                      of the grant: a string, since readers of JSON round such numbers
//	end                        settle: done, failed, exhausted or returned
//	outcome                    run: completed, completed-elsewhere, held-elsewhere, exhausted or interrupted
//	resources                  of a Locker's operation: how many
//	resource, owner, fence     where it is one
//	refused, refusal           how many claims were refused; why, where it is one
//
// The status is Error where something failed, and the error is recorded. To be refused is no failure: to find a lock
// held, or a job done, is how a cluster works. Nor is it one of a run that it was interrupted.
//
// Names and errors are any bytes, and attributes are text: what is not UTF-8 is replaced.
package workerotel
