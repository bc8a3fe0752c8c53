package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

// patience is how much longer than two leases a scene may take.
const patience = 30 * time.Second

// play is the parent: it starts the replicas, has things happen to them, and is what they write to.
type play struct {
	settings
	server   *demo.Server
	crew     *demo.Crew
	name     string // the lock's
	replicas map[int]*demo.Process
	ready    map[int]bool // those that have begun to wait
	born     int
	began    time.Time

	leader  int   // who began to lead last
	fence   int64 // the largest that was seen
	leaders int
	writes  int
	refused int
	took    map[string]time.Duration // by scene: until the next one led
}

// run plays, and returns the exit status.
func run(set settings) int {
	ctx, stop := demo.Context()
	defer stop()
	p := &play{settings: set, name: "leader-" + rand.Text()[:8], replicas: map[int]*demo.Process{}, ready: map[int]bool{}, took: map[string]time.Duration{}, began: time.Now()}
	var err error
	if p.server, err = demo.FindServer(ctx, *set.redis); err != nil {
		return fail(err)
	}
	defer p.server.Close()
	err = p.all(ctx)
	outcome, status := "completed", 0
	switch {
	case ctx.Err() != nil && len(set.scenes) > 0:
		outcome, status = "interrupted", 1
	case err != nil && ctx.Err() == nil:
		outcome, status = "broken", fail(err)
	}
	fmt.Printf("summary: outcome=%s replicas=%d leaders=%d writes=%d refused=%d terminate=%v kill=%v pause=%v elapsed=%v redis=%s\n",
		outcome, set.replicas, p.leaders, p.writes, p.refused, p.took["terminate"], p.took["kill"], p.took["pause"],
		round(time.Since(p.began)), p.server.Name)
	return status
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "leader:", err)
	return 1
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// all plays the scenes, and has the replicas leave.
func (p *play) all(ctx context.Context) error {
	replicas, leave := context.WithCancel(ctx)
	defer leave()
	var err error
	if p.crew, err = demo.NewCrew(replicas); err != nil {
		return err
	}
	defer func() {
		leave()
		p.crew.NoMore()
		for range p.crew.Lines { // until they have left
			continue
		}
	}()
	fmt.Printf("%d replicas, lock %q, lease %v, redis %s\n", p.settings.replicas, p.name, p.lease, p.server.Name)
	for range p.settings.replicas {
		if err := p.start(); err != nil {
			return err
		}
	}
	if len(p.scenes) == 0 {
		return p.until(ctx, func(report) bool { return false })
	}
	for _, scene := range scenes {
		if slices.Contains(p.scenes, scene) {
			if err := p.scene(ctx, scene); err != nil {
				return fmt.Errorf("%s: %w", scene, err)
			}
		}
	}
	return nil
}

// scene has something happen to the leader, and waits until another leads and all is as it was.
func (p *play) scene(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*p.lease+patience, errors.New("what should happen does not"))
	defer cancel()
	if err := p.until(ctx, func(r report) bool { return r.Event == eventWrites && r.Fence == p.fence }); err != nil {
		return err
	}
	old, began, last := p.leader, time.Now(), p.born
	process := p.replicas[old]
	var err error
	switch name {
	case "terminate":
		err = process.Terminate()
	case "kill":
		err = process.Kill()
	case "pause":
		err = process.Pause()
	}
	if err != nil {
		return err
	}
	fmt.Printf("-- %s: replica %d\n", name, old)
	if err := p.until(ctx, func(r report) bool { return r.Event == eventLeads && r.Replica != old }); err != nil {
		return err
	}
	p.took[name] = round(time.Since(began))
	fmt.Printf("-- %s: another leads after %v\n", name, p.took[name])
	if name == "pause" {
		if err := process.Resume(); err != nil {
			return err
		}
		return p.until(ctx, func(r report) bool { return r.Event == eventLost && r.Replica == old })
	}
	replaced := func(report) bool { return p.born > last && len(p.ready) == p.settings.replicas }
	if replaced(report{}) {
		return nil
	}
	return p.until(ctx, replaced)
}

// until reads what the replicas report until something has happened. Replicas that end are replaced, as an orchestrator
// does it.
func (p *play) until(ctx context.Context, happened func(report) bool) error {
	for {
		select {
		case line := <-p.crew.Lines:
			var r report
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			if err := p.note(r); err != nil {
				return err
			}
			if happened(r) {
				return nil
			}
		case ended := <-p.crew.Ended:
			if err := p.replace(ended); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// note is also what the leader writes to: it refuses who comes with a smaller fence than it has seen.
func (p *play) note(r report) error {
	switch {
	case r.Event == eventWaits:
		p.ready[r.Replica] = true
	case r.Event == eventLeads && r.Fence <= p.fence:
		return fmt.Errorf("replica %d leads with fence %d after %d", r.Replica, r.Fence, p.fence)
	case r.Event == eventLeads:
		p.leader, p.fence = r.Replica, r.Fence
		p.leaders++
	case r.Event == eventWrites && r.Fence < p.fence:
		p.refused++
		fmt.Printf("Replica %d still writes: refused, its fence %d is smaller than %d\n", r.Replica, r.Fence, p.fence)
		return nil
	case r.Event == eventWrites:
		p.writes++
		return nil
	}
	fmt.Println(r)
	return nil
}

// start starts a replica.
func (p *play) start() error {
	p.born++
	process, err := p.crew.Start(p.born, replica{Number: p.born, Redis: p.server.URL, Leader: p.name, Lease: p.lease, Every: p.every})
	if err != nil {
		return err
	}
	p.replicas[p.born] = process
	fmt.Printf("Replica %d is started, process %d\n", p.born, process.PID())
	return nil
}

// replace starts a replica for one that has ended, unless that ended by itself.
func (p *play) replace(ended *demo.Process) error {
	delete(p.replicas, ended.Number)
	delete(p.ready, ended.Number)
	if exit := (*exec.ExitError)(nil); errors.As(ended.Err, &exit) && exit.Exited() {
		return fmt.Errorf("replica %d: %w", ended.Number, ended.Err)
	}
	fmt.Printf("Replica %d has ended\n", ended.Number)
	return p.start()
}
