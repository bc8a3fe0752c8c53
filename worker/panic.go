package worker

import (
	"fmt"
	"runtime/debug"
)

// PanicError is what became of work or a handler that did not return.
type PanicError struct {
	Value  any    // what panic was called with; nil for Goexit
	Goexit bool   // it was no panic: runtime.Goexit was called, as testing.T.FailNow does
	Stack  []byte // of the goroutine, as it was then
}

// Error says what happened and shows the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("%s\n\n%s", e.headline(), e.Stack)
}

// headline is the text without the stack, which is of no use in a record that keeps 512 bytes.
func (e *PanicError) headline() string {
	if e.Goexit {
		return "worker: runtime.Goexit was called"
	}
	return fmt.Sprintf("worker: panic: %v", e.Value)
}

// guard calls f and waits until it has ended. The goroutine of its own is there for runtime.Goexit,
// which ends the one that it is called on. What ends f other than by returning is a *PanicError, which
// wraps nothing: a panic with a permanent error is a panic.
func guard(f func() error) (err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		returned := false
		defer func() {
			if !returned {
				value := recover()
				err = &PanicError{Value: value, Goexit: value == nil, Stack: debug.Stack()}
			}
		}()
		err = f()
		returned = true
	}()
	<-ended
	return err
}

// causeText is how an error is recorded. fmt survives an Error method that panics.
func causeText(err error) string {
	if p, ok := err.(*PanicError); ok {
		return p.headline()
	}
	return fmt.Sprint(err)
}
