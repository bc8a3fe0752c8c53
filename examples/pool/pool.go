package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
	"github.com/lockingworker/lockingworker/lock"
)

// pool is the parent.
type pool struct {
	settings
	server    *demo.Server
	name      string
	crew      *demo.Crew
	processes map[int]*demo.Process // that run
	ledger    ledger
	bar       *progressbar.ProgressBar
}

// run has the jobs done, and returns the exit status.
func run(set settings) int {
	ctx, stop := demo.Context()
	defer stop()
	began := time.Now()
	server, err := demo.FindServer(ctx, *set.redis)
	if err != nil {
		return fail(err)
	}
	defer server.Close()
	p := &pool{
		settings: set, server: server, name: "pool-" + rand.Text()[:8],
		processes: map[int]*demo.Process{}, ledger: newLedger(),
		bar: progressbar.NewOptions(set.jobs, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))),
			progressbar.OptionSetDescription("jobs"), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("jobs"),
			progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish()),
	}
	fmt.Printf("%d processes, %d jobs %q, redis %s\n", set.processes, set.jobs, p.name+"/…", server.Name)
	err = p.work(ctx)
	elapsed := time.Since(began)
	_ = p.bar.Finish()
	once, repeated, again := p.ledger.count()
	missing := set.jobs - once - repeated
	if err = errors.Join(err, again); err == nil && missing != 0 {
		err = fmt.Errorf("%d jobs are missing", missing)
	}
	if err == nil {
		err = p.compare(ctx)
	}
	outcome, status := "completed", 0
	switch {
	case ctx.Err() != nil:
		outcome, status = "interrupted", 1
	case err != nil:
		outcome, status = "broken", fail(err)
	}
	least, most := p.ledger.shares(set.processes)
	fmt.Printf("the processes that lived did %d to %d works each, %.0f a second together\n", least, most, float64(once+repeated)/elapsed.Seconds())
	fmt.Printf("summary: outcome=%s jobs=%d once=%d repeated=%d missing=%d processes=%d killed=%d elapsed=%v redis=%s\n",
		outcome, set.jobs, once, repeated, missing, set.processes, len(p.ledger.killed), elapsed.Round(time.Millisecond), server.Name)
	return status
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "pool:", err)
	return 1
}

// work starts the processes, and writes down what they do until all have ended.
func (p *pool) work(ctx context.Context) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var err error
	if p.crew, err = demo.NewCrew(ctx); err != nil {
		return err
	}
	for number := 1; number <= p.settings.processes; number++ {
		var process *demo.Process
		process, err = p.crew.Start(number, member{
			Number: number, Redis: p.server.URL, Pool: p.name, Jobs: p.jobs, Concurrency: p.concurrency, Work: p.settings.work, Lease: p.lease,
		})
		if err != nil {
			leave() // those that were started
			break
		}
		p.processes[number] = process
	}
	p.crew.NoMore()
	done := 0
	for line := range p.crew.Lines {
		first, number, bad := p.ledger.add(line)
		if err = errors.Join(err, bad); first {
			done++
			_ = p.bar.Add(1)
		}
		if len(p.ledger.killed) < p.kill && done*(p.kill+1) >= p.jobs*(len(p.ledger.killed)+1) {
			err = errors.Join(err, p.killOne(number))
		}
	}
	for range p.processes {
		if ended := <-p.crew.Ended; ended.Err != nil && !slices.Contains(p.ledger.killed, ended.Number) && ctx.Err() == nil {
			err = errors.Join(err, fmt.Errorf("process %d: %w", ended.Number, ended.Err))
		}
	}
	return err
}

// killOne kills the process that has just worked, which has more at hand; or another one, if that was killed before.
func (p *pool) killOne(number int) error {
	for slices.Contains(p.ledger.killed, number) {
		number = number%p.settings.processes + 1
	}
	err := p.processes[number].Kill()
	if errors.Is(err, os.ErrProcessDone) { // there was nothing left to do, and its lines were read late
		p.kill = len(p.ledger.killed)
		return nil
	}
	p.ledger.killed = append(p.ledger.killed, number)
	_ = p.bar.Clear()
	fmt.Printf("process %d is killed\n", number)
	return err
}

// compare fails unless Redis has a record of each job, that it is done.
func (p *pool) compare(ctx context.Context) error {
	client, err := demo.Connect(p.server.URL)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = locker.Close() }()
	var ids []lock.JobID
	for job := range jobs(p.name, p.jobs) {
		ids = append(ids, lock.JobID{Key: job.Key, Run: job.Run.Name})
	}
	infos, err := locker.Jobs().Get(ctx, ids...)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if info.State != lock.JobDone || len(p.ledger.by[info.ID.Key]) == 0 {
			return fmt.Errorf("%s is %v, and was done by processes %v", info.ID.Key, info.State, p.ledger.by[info.ID.Key])
		}
	}
	return nil
}
