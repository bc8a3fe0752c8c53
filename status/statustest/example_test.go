package statustest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/status/statustest"
)

// The recorder's Record is the handler; the test waits for the step that it is about.
func Example() {
	recorder := statustest.New()
	onStatus := recorder.Record // in a test: worker.Handlers{OnStatus: recorder.Record}
	go func() {
		onStatus(status.Event{Kind: status.KindReacquiring})
		onStatus(status.Event{Kind: status.KindAttempt, Attempt: 2})
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	granted, err := recorder.Wait(ctx, status.KindAttempt)
	fmt.Println(granted.Attempt, err)
	for _, message := range recorder.Messages() {
		fmt.Println(message)
	}
	// Output:
	// 2 <nil>
	// Trying to reacquire lock
	// This is attempt #2
}
