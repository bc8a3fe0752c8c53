// Http shows a service that has a worker in it: one of its replicas, whichever, makes a report in each period; all of them
// answer requests, tell Prometheus what they do, and end in good order.
//
//	go run -C examples/http .
//	curl localhost:8080/           the report of this period, as it stands in Redis
//	curl localhost:8080/healthz    200, or 503 while it ends or Redis does not answer
//	curl localhost:8080/metrics    for Prometheus
//
// For several replicas give each a port of its own and all of them one Redis:
//
//	go run -C examples/http . -redis redis://localhost:6379 -addr localhost:8081
//
// Without -redis and REDIS_URL it starts a server of its own, in this process.
//
// At SIGTERM or Ctrl-C /healthz says 503, so that no more requests are sent here, and the work's context ends. The work
// returns; its attempt is given back, not counted, and another replica begins it at once. Requests are taken for as long as
// -linger says, which should be what a load balancer takes to notice; those that are under way then are answered, the
// Locker is closed, and the exit status is 0. Whatever ends a service by SIGTERM kills it after a time: all of that must not
// take longer. A second Ctrl-C ends it at once.
//
// What is to be copied is in service.go. The last line is a summary for scripts:
//
//	summary: outcome=stopped completed=3 elsewhere=2 interrupted=1 other=0 redis=embedded
//
//	completed     reports that were made here; elsewhere: by another replica
//	interrupted   1 if the end came while it worked or waited
//	redis         embedded, or given
//
// Exit status: 0 ended in good order, 1 broken, 2 wrong flags. (go run makes 1 of all but 0.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/examples/internal/demo"
)

// settings are what the flags say.
type settings struct {
	addr      string
	every     time.Duration
	work      time.Duration
	fail      float64
	length    time.Duration
	linger    time.Duration
	namespace string
	redis     *string
}

func main() {
	set, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		os.Exit(2)
	}
	ctx, stop := demo.Context()
	defer stop()
	if set.length > 0 {
		ctx, stop = context.WithTimeout(ctx, set.length)
		defer stop()
	}
	summary, err := run(ctx, set)
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
	fmt.Println(summary)
}

// parse says on standard error what is wrong.
func parse(args []string) (set settings, err error) {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.StringVar(&set.addr, "addr", "localhost:8080", "`host:port` to listen on; port 0 is a free one")
	flags.DurationVar(&set.every, "every", 10*time.Second, "how long a period is: there is one report for each")
	flags.DurationVar(&set.work, "work", time.Second, "how long the work takes")
	flags.Float64Var(&set.fail, "fail", 0.3, "how likely an attempt fails, from 0 to 1")
	flags.DurationVar(&set.length, "for", 0, "end after this `time`; 0: at a signal")
	flags.DurationVar(&set.linger, "linger", 0, "for how `long` requests are still taken when it is to end")
	flags.StringVar(&set.namespace, "namespace", "http-example", "`prefix` of all keys in Redis")
	set.redis = demo.RedisFlag(flags)
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q: there are only flags, no arguments", flags.Arg(0)))
	}
	if set.every <= 0 {
		errs = append(errs, fmt.Errorf("-every %v: want more than 0", set.every))
	}
	if set.fail < 0 || set.fail > 1 {
		errs = append(errs, fmt.Errorf("-fail %v: want 0 to 1", set.fail))
	}
	if err = errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
	}
	return set, err
}

// run finds Redis, and runs the service on it.
func run(ctx context.Context, set settings) (string, error) {
	url, name := *set.redis, "given" // it need not answer yet: /healthz tells
	if url == "" {
		server, err := demo.FindServer(ctx, "")
		if err != nil {
			return "", err
		}
		defer server.Close()
		url, name = server.URL, server.Name
	}
	rdb, err := demo.Connect(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = rdb.Close() }()
	log, err := zap.NewProduction()
	if err != nil {
		return "", err
	}
	s, err := newService(rdb, set, log)
	if err != nil {
		return "", err
	}
	if err := s.serve(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("summary: outcome=stopped %v redis=%s", s.counts, name), nil
}
