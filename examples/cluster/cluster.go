package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
)

// patience is how long an interrupted worker may take to leave, before it is killed.
const patience = 10 * time.Second

// runCluster is the parent: it starts the workers, prints what they report, and returns the exit status.
func runCluster(flags *flag.FlagSet, set settings) int {
	began := time.Now()
	drawn := newPicture(flags, began)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	server, err := findServer(ctx, set.redis)
	if err != nil {
		return fail(err)
	}
	defer server.close()

	c := &cluster{set: set, processes: map[int]*os.Process{}, ended: make(chan end), history: newHistory(), picture: drawn}
	if err := c.start(ctx, set.workers, workerArgs(flags), server.url); err != nil {
		stop() // and those that were started leave
		c.watch()
		return fail(err)
	}
	fmt.Printf("%d workers, job %q, seed %d, redis %s\n", set.workers, set.key, set.seed, server.name)
	c.watch()

	job, err := findJob(server.url, set.key)
	if err != nil {
		return fail(err)
	}
	c.history.stopped = c.history.stopped || ctx.Err() != nil
	s := summarize(job, c.history)
	s.workers, s.elapsed, s.redis = set.workers, time.Since(began), server.name
	fmt.Println(s)
	if set.svg != "" {
		drawn.close(s.String())
		if err := drawn.write(set.svg); err != nil {
			return fail(err)
		}
	}
	return s.outcome.exitStatus()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "cluster:", err)
	return 1
}

// workerArgs are the flags that were set. The URL is left out: with its password it would be seen in every list of
// processes.
func workerArgs(flags *flag.FlagSet) []string {
	var args []string
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "redis" {
			args = append(args, fmt.Sprintf("-%s=%s", f.Name, f.Value))
		}
	})
	return args
}

// cluster is the workers that run.
type cluster struct {
	set       settings
	running   int
	processes map[int]*os.Process // by the numbers of their workers
	reports   chan string
	ended     chan end
	history   *history
	picture   *picture
}

// end is the end of a worker's process.
type end struct {
	worker int
	err    error
}

// start starts the workers. When ctx ends, their inputs do, and they leave.
func (c *cluster) start(ctx context.Context, workers int, args []string, url string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close() // the workers have it
	c.reports = make(chan string)
	go c.read(in)

	for number := 1; number <= workers; number++ {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "REDIS_URL="+url, workerVariable+"="+strconv.Itoa(number))
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		cmd.Cancel, cmd.WaitDelay = stdin.Close, patience
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			if ctx.Err() != nil {
				return nil // interrupted: no more of them
			}
			return err
		}
		c.running++
		c.processes[number] = cmd.Process
		c.picture.start(number)
		go func() { c.ended <- end{number, cmd.Wait()} }()
	}
	return nil
}

// read passes on what the workers write, until they have all ended.
func (c *cluster) read(in io.ReadCloser) {
	defer in.Close()
	defer close(c.reports)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		c.reports <- lines.Text()
	}
}

// watch prints what happens until all workers have ended and all that they reported was read.
func (c *cluster) watch() {
	for c.running > 0 || c.reports != nil {
		select {
		case line, ok := <-c.reports:
			if !ok {
				c.reports = nil
				continue
			}
			c.print(line)
		case e := <-c.ended:
			c.running--
			killed := new(exec.ExitError)
			bySignal := errors.As(e.err, &killed) && !killed.Exited()
			c.picture.end(e.worker, bySignal)
			if bySignal {
				fmt.Printf("Worker %d ended: %v\n", e.worker, killed)
				// Ctrl-C reaches the workers too, some before they can handle it, and perhaps before it reaches the parent.
				status, ok := killed.Sys().(syscall.WaitStatus)
				c.history.stopped = c.history.stopped || ok && (status.Signal() == syscall.SIGINT || status.Signal() == syscall.SIGTERM)
			}
		}
	}
}

func (c *cluster) print(line string) {
	var r report
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		fmt.Fprintln(os.Stderr, line) // not ours: show it all the same
		return
	}
	if r.Event == eventAcquired && r.Attempt == c.set.kill {
		process := c.processes[r.Worker]
		c.set.kill = 0 // that attempt, given back, may come again
		time.AfterFunc(c.set.work/2, func() { _ = process.Kill() })
	}
	c.history.add(r)
	c.picture.add(r)
	fmt.Println(r)
}

// findJob reads what Redis remembers of the job.
func findJob(url, key string) (lock.JobInfo, error) {
	options, err := parseURL(url)
	if err != nil {
		return lock.JobInfo{}, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	locker, err := lock.New(client, lock.Config{})
	if err != nil {
		return lock.JobInfo{}, err
	}
	defer locker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	jobs, err := locker.Jobs().Get(ctx, lock.JobID{Key: key})
	if err != nil {
		return lock.JobInfo{}, err
	}
	return jobs[0], nil
}
