package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// quantile returns the q-quantile of the samples, which it sorts.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	at := int(math.Ceil(q*float64(len(samples)))) - 1
	return samples[min(max(at, 0), len(samples)-1)]
}

// median returns the middle of the values, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// resources returns the names of n resources.
func resources(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("bench:resource:%07d", i)
	}
	return names
}

// repeat calls f until the time is over, and returns how often, and in what time.
func repeat(ctx context.Context, span time.Duration, f func() error) (int, time.Duration, error) {
	began := time.Now()
	for n := 0; ; n++ {
		if took := time.Since(began); took >= span {
			return n, took, nil
		}
		if ctx.Err() != nil {
			return n, time.Since(began), context.Cause(ctx)
		}
		if err := f(); err != nil {
			return n, time.Since(began), err
		}
	}
}

// cpuTime returns how much processor time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory returns how many bytes are in use, stacks included, after as many collections as it takes until the earlier
// contenders' goroutines, buffers and finalizers have let go of theirs, so that nobody is given the credit for that.
func memory(ctx context.Context) (int64, error) {
	const near = 64 << 10
	var m runtime.MemStats
	last := int64(-near)
	for calm := 0; ; {
		runtime.GC()
		runtime.ReadMemStats(&m)
		now := int64(m.HeapAlloc + m.StackInuse)
		if now > last-near { // no less any more
			calm++
		} else {
			calm = 0
		}
		if calm == 3 {
			return now, nil
		}
		last = now
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// orNaN is the quantile in ms, or NaN where there are no samples.
func orNaN(samples []time.Duration, q float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	return millis(quantile(samples, q))
}
