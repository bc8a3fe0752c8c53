package status_test

import (
	"errors"
	"flag"
	"fmt"

	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/status"
)

// A handler that prints what each worker does.
func ExampleEvent_String() {
	onStatus := func(e status.Event) {
		fmt.Printf("Worker %s Status message from lock: %v\n", e.Worker, e)
	}
	onStatus(status.Event{Kind: status.KindChecking, Worker: "2", Attempt: 1})
	onStatus(status.Event{Kind: status.KindAttempt, Worker: "2", Attempt: 2})
	onStatus(status.Event{Kind: status.KindOvertaken, Worker: "3", Expected: 1, Attempt: 2})
	// Output:
	// Worker 2 Status message from lock: Checking status of work from attempt #1
	// Worker 2 Status message from lock: This is attempt #2
	// Worker 3 Status message from lock: Attempt count has been incremented (expected 1, but it's 2), someone else got the lock
}

// A handler that logs each event, its fields beside the message.
func ExampleEvent_MarshalLogObject() {
	logger := zap.NewExample()
	onStatus := func(e status.Event) {
		logger.Info(e.String(), zap.Inline(e))
	}
	onStatus(status.Event{
		Kind: status.KindNotCompleted, Key: "nightly", Run: "2026-11-22", Worker: "host-1",
		Attempt: 1, Max: 5, Err: errors.New("disk full"),
	})
	// Output:
	// {"level":"info","msg":"Work was not completed, trying to reacquire lock for attempt #1","event":"not-completed","key":"nightly","run":"2026-11-22","owner":"host-1","attempt":1,"max":5,"error":"disk full"}
}

// A level is a flag; the value that it has before is the default.
func ExampleLevel_Set() {
	var level status.Level
	flags := flag.NewFlagSet("program", flag.ContinueOnError)
	flags.Var(&level, "status", "how much to report: silent, normal or verbose")

	fmt.Println(level)
	fmt.Println(flags.Parse([]string{"-status", "verbose"}), level)
	fmt.Println(level.Set("loud"))
	// Output:
	// normal
	// <nil> verbose
	// status: unknown level "loud": want silent, normal or verbose
}

func ExampleLevel_Enabled() {
	for _, configured := range []status.Level{status.Silent, status.Normal, status.Verbose} {
		fmt.Println(configured,
			configured.Enabled(status.KindNotCompleted.Level()),
			configured.Enabled(status.KindAttempt.Level()))
	}
	// Output:
	// silent false false
	// normal true false
	// verbose true true
}
