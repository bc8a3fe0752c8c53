// Package tick does not know any scheduler, nor does it say when one fires. It says which run of a job a tick is, so that
// processes whose clocks differ give the same tick the same name. contrib/gocronworker and contrib/cronworker tell their
// users what follows from that.
//
// A tick has the name of its time in the schedule, which has nothing to do with when it came: the last time of the schedule
// that is not after now, by the process's own clock. Each process compares its own clock with the same schedule, so a
// clock that is wrong moves when a process comes, and not what it comes for.
package tick
