// Package status describes what a worker does; it decides nothing and promises no delivery. An event says what one worker
// saw when it took a step, so it may be out of date when it is read, and it reaches the process that emitted it and no
// other. The events of one worker come in the order of its steps, but where a handler is too slow the oldest are dropped;
// an event of [KindDropped] then says how many. Nothing here talks to Redis. Who holds a lock is the lock package's to say,
// and how the work ended is what the worker returns.
//
// An [Event] has a [Kind], which programs compare; its String is the message for people. The kind also fixes the [Level],
// and a worker emits what its configured level enables:
//
//	configured | emitted
//	Silent     | nothing
//	Normal     | changes: the work is tried again, was lost to another, is done
//	Verbose    | every step
//
// Level is a [flag.Value], and an event is a [zapcore.ObjectMarshaler]; so a program that takes -status and logs what comes
// needs a line for each. Tests record events with the package statustest.
package status
