package demo

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Context ends at Ctrl-C and SIGTERM. A second Ctrl-C ends the program at once.
func Context() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// ChildContext is Context for a process of a Crew: it also ends with its input, which the parent closes, also by dying.
func ChildContext() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return ctx, stop
}
