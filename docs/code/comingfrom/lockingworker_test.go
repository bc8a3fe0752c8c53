package comingfrom

import (
	"context"
	"errors"
	"log"
	"sync"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/status"
	"github.com/lockingworker/lockingworker/worker"
)

func newWorker(locker *lock.Locker) (*worker.Worker, error) {
	return worker.New(locker, worker.Config{
		TTL:         worker.DefaultTTL,         // lockTimeout: 5 s
		MaxAttempts: worker.DefaultMaxAttempts, // maxAttempts: 5
		RetryDelay:  worker.HandOver,           // no pause after a failure
		StatusLevel: status.Verbose,            // statusLevel
		Handlers: worker.Handlers{
			OnLocked:      func(job worker.Job, holder string) { log.Println("Someone else acquired the lock:", holder) },
			OnStatus:      func(e status.Event) { log.Println("Status message from lock:", e) },
			OnError:       func(job worker.Job, err error) { log.Println("Error from lock:", err) },
			OnMaxAttempts: func(job worker.Job, err error) { log.Println(err) },
		},
	})
}

func runWorker(ctx context.Context, w *worker.Worker, work func(context.Context) error) error {
	outcome, err := w.Run(ctx, worker.Job{Key: "mylock"}, func(ctx context.Context, a worker.Attempt) error {
		if err := work(ctx); err != nil {
			return err // failed: the next one takes over at once, and not after lockTimeout
		}
		log.Println("Completed work successfully, last attempt?", a.Last())
		return nil // done
	})
	log.Println(outcome) // completed, completed-elsewhere, exhausted, …
	return err
}

// acquireWorker is for work that is no function: it ends where done was called.
func acquireWorker(ctx context.Context, w *worker.Worker, work func(ctx context.Context, lastAttempt bool) error) error {
	grant, err := w.Acquire(ctx, worker.Job{Key: "mylock"})
	if errors.Is(err, worker.ErrDone) {
		return nil // by another
	}
	if err != nil {
		return err
	}
	if err := work(grant.Context(), grant.Attempt().Last()); err != nil {
		return errors.Join(err, grant.Fail(context.WithoutCancel(ctx), err))
	}
	return grant.Done(context.WithoutCancel(ctx))
}

func TestLockingWorker(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(*worker.Worker, func() error) error{
		"Run": func(w *worker.Worker, work func() error) error {
			return runWorker(t.Context(), w, func(context.Context) error { return work() })
		},
		"Acquire": func(w *worker.Worker, work func() error) error {
			unlucky := errUnlucky
			for errors.Is(unlucky, errUnlucky) { // who has failed stands in line again
				unlucky = acquireWorker(t.Context(), w, func(context.Context, bool) error { return work() })
			}
			return unlucky
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Any)
			namespace := server.Namespace(t)
			var mu sync.Mutex
			attempts := 0
			var all sync.WaitGroup
			for range 4 {
				w, err := newWorker(newLocker(t, server, namespace))
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					err := way(w, func() error {
						mu.Lock()
						defer mu.Unlock()
						if attempts++; attempts < 3 {
							return errUnlucky
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if attempts != 3 {
				t.Errorf("%d attempts", attempts)
			}
		})
	}
}

var errUnlucky = errors.New("no luck this time")
