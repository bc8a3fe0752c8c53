package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// lease is how long A has the lock without renewing it.
const lease = 250 * time.Millisecond

// place is where both holders write.
type place struct {
	name   string
	store  store
	fenced bool
}

// scene is the stage: what is printed, where is written, and what went another way than it should.
type scene struct {
	out    io.Writer
	begun  time.Time
	job    string
	places []place
	wrong  []error
}

// play lets A and B hold the lock one after the other, and both write.
func play(ctx context.Context, out io.Writer, rdb redis.UniversalClient, job string, places []place) error {
	locker, err := lock.New(rdb, lock.Config{Namespace: "fenced"})
	if err != nil {
		return err
	}
	defer locker.Close()
	s := &scene{out: out, begun: time.Now(), job: job, places: places}
	s.line("", func(p place) string { return p.name })

	// Nobody renews what TryLock has granted: so A is to Redis what a paused process is.
	granted, err := locker.TryLock(ctx, lock.Claim{Resource: job, Owner: "A", TTL: lease})
	if err != nil {
		return err
	}
	a := granted[0].Fence
	s.sayf("A is granted the lock for %v, fence %d", lease, a)
	s.sayf("A is paused")

	held, err := locker.Hold(ctx, lock.Claim{Resource: job, Owner: "B"})
	if err != nil {
		return err
	}
	b := held.Fence()
	s.sayf("B is granted the lock, fence %d", b)
	if b <= a {
		s.failf("B's fence %d is not larger than A's %d", b, a)
	}

	s.write(ctx, "B writes", "by B", b, true)
	s.write(ctx, "A goes on, and writes", "by A", a, false)
	s.read(ctx, map[bool]string{true: "by B", false: "by A"})
	s.write(ctx, "B writes again, with the same fence", "by B", b, true)
	s.read(ctx, map[bool]string{true: "by B", false: "by B"})
	return errors.Join(append(s.wrong, held.Release(ctx))...)
}

// write lets all places be written to. Those without a fence accept everything.
func (s *scene) write(ctx context.Context, what, text string, fence int64, accepted bool) {
	s.line(what, func(p place) string {
		err := p.store.write(ctx, s.job, text, fence)
		stale := errors.Is(err, errStale)
		switch {
		case err != nil && !stale:
			s.failf("%s: %w", p.name, err)
			return "failed"
		case stale == (accepted || !p.fenced):
			s.failf("%s: %s: %v", p.name, what, err)
		}
		if stale {
			return "refused"
		}
		return "accepted"
	})
}

// read shows what stands in all places, and compares it with what should: by whether they are fenced.
func (s *scene) read(ctx context.Context, want map[bool]string) {
	s.line("   what is there now", func(p place) string {
		text, _, err := p.store.read(ctx, s.job)
		if err != nil || text != want[p.fenced] {
			s.failf("%s: there is %q, want %q: %v", p.name, text, want[p.fenced], err)
		}
		return text
	})
}

func (s *scene) sayf(format string, args ...any) {
	s.line(fmt.Sprintf(format, args...), nil)
}

// line prints when, what, and a cell for each place.
func (s *scene) line(what string, cell func(place) string) {
	var cells strings.Builder
	if cell != nil {
		for _, p := range s.places {
			fmt.Fprintf(&cells, "%-12s", cell(p))
		}
	}
	line := fmt.Sprintf("%5d ms  %-36s %s", time.Since(s.begun).Milliseconds(), what, cells.String())
	if what == "" {
		line = strings.Repeat(" ", 8) + line[8:]
	}
	fmt.Fprintln(s.out, strings.TrimRight(line, " "))
}

func (s *scene) failf(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Errorf(format, args...))
}
