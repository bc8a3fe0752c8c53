package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/redis/go-redis/v9"
)

const (
	// lifetime is when a container is killed that nobody removed, since the test binary was: no test runs longer.
	lifetime = 10 * time.Minute

	// label is on every container: docker container prune --filter label=lockingworker.redistest
	label = "lockingworker.redistest"
)

// container is a redis-server in a docker container. Its data stay in it from start to start.
type container struct {
	daemon   *daemon
	port     int // on the host's loopback
	resource *dockertest.Resource
	expiry   sync.WaitGroup
	mu       sync.Mutex // orders what is done to it
}

// startContainer starts a container whose server answers on a free port.
func startContainer(ctx context.Context, s spec) (*container, error) {
	return onFreePort(ctx, func(ctx context.Context, port int) (*container, error) {
		return runContainer(ctx, s, port, "")
	})
}

// onFreePort calls start with a free port, and again if somebody took that first.
func onFreePort(ctx context.Context, start func(context.Context, int) (*container, error)) (c *container, err error) {
	err = retry(ctx, startBound, func(ctx context.Context) error {
		port, err := freePort()
		if err != nil {
			return backoff.Permanent(err)
		}
		c, err = start(ctx, port)
		if err != nil && !strings.Contains(strings.ToLower(err.Error()), "already ") { // in use, allocated
			return backoff.Permanent(err)
		}
		return err
	})
	return c, err
}

// runContainer starts a server on this port, in a network of its own or that of another container.
func runContainer(ctx context.Context, s spec, port int, network string) (*container, error) {
	d, err := docker()
	if err != nil {
		return nil, err
	}
	inside, bind := port, loopback
	options := &dockertest.RunOptions{}
	switch {
	case d.hostOnly:
		network = "host"
	case network == "":
		inside, bind = 6379, "0.0.0.0" // the port that the image declares: dockertest waits for a binding of that one
		options.PortBindings = publish(inside, port)
	default:
		bind = "0.0.0.0"
	}
	// Protected mode takes a published port for a stranger's. The host publishes it on loopback only.
	options.Cmd = append([]string{"redis-server", "--protected-mode", "no"}, s.arguments(bind, inside)...)
	c, err := d.run(options, network)
	if err != nil {
		return nil, err
	}
	c.port = port
	if err := c.await(ctx); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// publish makes a port inside reachable on a port of the host's loopback.
func publish(inside, port int) map[dc.Port][]dc.PortBinding {
	return map[dc.Port][]dc.PortBinding{
		dc.Port(fmt.Sprintf("%d/tcp", inside)): {{HostIP: loopback, HostPort: strconv.Itoa(port)}},
	}
}

// run starts a container, which ends by itself after its lifetime.
func (d *daemon) run(options *dockertest.RunOptions, network string) (*container, error) {
	options.Repository, options.Tag = imageRepository, imageTag
	options.Name = fmt.Sprintf("redistest-%d-%08x", os.Getpid(), rand.Uint32())
	options.Labels = map[string]string{label: strconv.Itoa(os.Getpid())}
	for port := range options.PortBindings {
		options.ExposedPorts = append(options.ExposedPorts, string(port)) // what is not exposed is not published
	}
	resource, err := d.pool.RunWithOptions(options, func(hc *dc.HostConfig) {
		hc.PublishAllPorts = false // dockertest's default would publish on all addresses
		hc.NetworkMode = network
	})
	if err != nil {
		err = fmt.Errorf("redistest: docker run: %w", err)
		return nil, errors.Join(err, d.pool.RemoveContainerByName(options.Name)) // it may have been created
	}
	c := &container{daemon: d, resource: resource}
	c.expire()
	return c, nil
}

// expire asks the daemon to kill the container after its lifetime: dockertest gives its containers a stop signal that
// Redis ignores. The call is answered when the container has ended.
func (c *container) expire() {
	c.expiry.Go(func() {
		_ = c.daemon.patient.Client.StopContainer(c.resource.Container.ID, uint(lifetime.Seconds()))
	})
}

func (c *container) addr() string { return address(c.port) }

// await returns when the server answers, even if with an error such as NOAUTH, or the container has ended.
func (c *container) await(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: c.addr(), MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	return retry(ctx, startBound, func(ctx context.Context) error {
		err := client.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		var network net.Error
		if !errors.As(err, &network) && !errors.Is(err, io.EOF) && !redis.HasErrorPrefix(err, "LOADING") {
			return nil
		}
		state, inspectErr := c.daemon.pool.Client.InspectContainer(c.resource.Container.ID)
		if inspectErr != nil || !state.State.Running {
			return backoff.Permanent(fmt.Errorf("redistest: the container ended: %w; %s", errors.Join(err, inspectErr), c.log()))
		}
		return err
	})
}

// log returns the end of the server's log.
func (c *container) log() string {
	var log bytes.Buffer
	_ = c.daemon.pool.Client.Logs(dc.LogsOptions{
		Container: c.resource.Container.ID, OutputStream: &log, ErrorStream: &log,
		Stdout: true, Stderr: true, Tail: strconv.Itoa(tailLines),
	})
	return log.String()
}

func (c *container) pause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.daemon.pool.Client.PauseContainer(c.resource.Container.ID)
}

func (c *container) resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := c.daemon.pool.Client.InspectContainer(c.resource.Container.ID)
	if err != nil || !state.State.Paused {
		return err
	}
	return c.daemon.pool.Client.UnpauseContainer(c.resource.Container.ID)
}

func (c *container) kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.resource.Container.ID
	if err := c.daemon.pool.Client.KillContainer(dc.KillContainerOptions{ID: id}); err != nil {
		return fmt.Errorf("redistest: docker kill: %w", err)
	}
	_, err := c.daemon.pool.Client.WaitContainer(id)
	c.expiry.Wait()
	return err
}

func (c *container) restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := retry(ctx, startBound, func(context.Context) error {
		return c.daemon.pool.Client.StartContainer(c.resource.Container.ID, nil)
	})
	if err != nil {
		return fmt.Errorf("redistest: docker start: %w", err)
	}
	c.expire()
	return c.await(ctx)
}

func (c *container) remove() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.daemon.pool.Purge(c.resource)
	c.expiry.Wait()
	return err
}
