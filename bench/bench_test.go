package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// The hot paths of package lock, for -benchmem and profiles: what the client allocates, and what the server spends.

var onServer *server

// TestMain starts a server for benchmarks. Tests need none.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // the server dies with the thread that started it
	s, err := startServer(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	onServer = s
	code := m.Run()
	if err := s.stop(); err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

// start returns a client of an empty server, and a function that reports what the server has spent since.
func start(b *testing.B, l library) (client, func()) {
	b.Helper()
	ctx := b.Context()
	if err := onServer.empty(ctx); err != nil {
		b.Fatal(err)
	}
	c, err := l.open(place{addr: onServer.addr})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.close)
	if err := c.collection(ctx, resources(10)); err != nil { // connects, and loads the scripts
		b.Fatal(err)
	}
	before, err := onServer.cpu(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return c, func() {
		b.StopTimer()
		after, err := onServer.cpu(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(micros(after-before)/float64(b.N), "server-µs/op")
	}
}

func each(b *testing.B, f func(b *testing.B, l library)) {
	b.Helper()
	for _, l := range libraries {
		b.Run(l.name, func(b *testing.B) { f(b, l) })
	}
}

func BenchmarkCollection1000(b *testing.B) {
	keys := resources(1000)
	each(b, func(b *testing.B, l library) {
		b.Helper()
		c, report := start(b, l)
		for b.Loop() {
			if err := c.collection(b.Context(), keys); err != nil {
				b.Fatal(err)
			}
		}
		report()
	})
}

func BenchmarkLockUnlock(b *testing.B) {
	each(b, func(b *testing.B, l library) {
		b.Helper()
		c, report := start(b, l)
		for b.Loop() {
			if err := cycle(b.Context(), c, "bench:one"); err != nil {
				b.Error(err)
			}
		}
		report()
	})
}

func BenchmarkParallel128(b *testing.B) {
	each(b, func(b *testing.B, l library) {
		b.Helper()
		c, report := start(b, l)
		var goroutines atomic.Int64
		b.SetParallelism(max(1, 128/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			key := fmt.Sprintf("bench:own:%03d", goroutines.Add(1))
			for pb.Next() {
				if err := cycle(b.Context(), c, key); err != nil {
					b.Error(err)
				}
			}
		})
		report()
	})
}

// cycle is no helper with a *testing.B: b.Helper takes a lock, which would be measured too.
func cycle(ctx context.Context, c client, key string) error {
	release, err := c.try(ctx, key)
	if err != nil {
		return err
	}
	return release(ctx)
}
