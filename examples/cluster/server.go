package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// server is the Redis that the workers share.
type server struct {
	url   string
	name  string // for the summary: never a password
	close func()
}

// findServer returns the server at url, if it answers, or starts one if url is empty.
func findServer(ctx context.Context, url string) (server, error) {
	if url == "" {
		return startServer()
	}
	options, err := parseURL(url)
	if err != nil {
		return server{}, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return server{}, fmt.Errorf("redis at %s: %w", options.Addr, err)
	}
	return server{url: url, name: options.Addr, close: func() {}}, nil
}

// startServer starts a server in this process, whose keys expire by the clock.
func startServer() (server, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return server{}, fmt.Errorf("start a server: %w", err)
	}
	return server{url: "redis://" + m.Addr(), name: "embedded", close: m.Close}, nil
}

// parseURL hides the parser's error, which shows the URL, password and all.
func parseURL(url string) (*redis.Options, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis or REDIS_URL: want redis://user:password@host:port/database")
	}
	return options, nil
}
