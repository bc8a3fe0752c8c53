package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// RedisFlag adds the flag -redis, whose default is REDIS_URL. The help does not show that: there may be a password in it.
func RedisFlag(flags *flag.FlagSet) *string {
	url := flags.String("redis", os.Getenv("REDIS_URL"), "`URL` of a Redis; without it, and without REDIS_URL, one is started")
	flags.Lookup("redis").DefValue = ""
	return url
}

// Server is the Redis that an example's processes share.
type Server struct {
	URL  string // with the password, if there is one
	Name string // embedded, or host:port

	embedded *miniredis.Miniredis
}

// FindServer returns the server at url, if it answers, or starts one in this process if url is empty.
func FindServer(ctx context.Context, url string) (*Server, error) {
	if url == "" {
		return startServer()
	}
	client, err := Connect(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	address := client.Options().Addr
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("redis at %s: %w", address, err)
	}
	return &Server{URL: url, Name: address}, nil
}

func startServer() (*Server, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	return &Server{URL: "redis://" + m.Addr(), Name: "embedded", embedded: m}, nil
}

// Close ends the server, if it was started here.
func (s *Server) Close() {
	if s.embedded != nil {
		s.embedded.Close()
	}
}

// Connect makes a client. It hides the parser's error, which shows the URL, password and all.
func Connect(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis or REDIS_URL: want redis://user:password@host:port/database")
	}
	options.ContextTimeoutEnabled = true // a single call is made from its caller's goroutine
	return redis.NewClient(options), nil
}
