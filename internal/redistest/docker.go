package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
)

const (
	imageRepository = "redis"
	imageTag        = "7"
	imageName       = imageRepository + ":" + imageTag
)

// daemon is the docker daemon of this machine.
type daemon struct {
	pool     *dockertest.Pool
	patient  *dockertest.Pool // for calls that last until a container ends
	hostOnly bool             // it was started with --bridge=none: containers get the host's network or none
}

// docker returns the daemon, if it answers, is on this machine, and has the image or can pull it within its bound.
func docker() (*daemon, error) { return binary.docker.get(findDocker) }

func findDocker() (*daemon, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("redistest: docker: %w", err)
	}
	patient, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("redistest: docker: %w", err)
	}
	if err := onThisMachine(pool.Client.Endpoint()); err != nil {
		return nil, err
	}
	pool.Client.SetTimeout(startBound)
	d := &daemon{pool: pool, patient: patient}
	ctx, cancel := context.WithTimeout(context.Background(), commandBound)
	defer cancel()
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, fmt.Errorf("redistest: the docker daemon does not answer: %w", err)
	}
	networks, err := pool.Client.ListNetworks()
	if err != nil {
		return nil, fmt.Errorf("redistest: docker network ls: %w", err)
	}
	d.hostOnly = !slices.ContainsFunc(networks, func(n dc.Network) bool { return n.Name == "bridge" })
	return d, d.needImage()
}

// needImage pulls the image if it is not here.
func (d *daemon) needImage() error {
	if _, err := d.pool.Client.InspectImage(imageName); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pullBound)
	defer cancel()
	err := d.patient.Client.PullImage(dc.PullImageOptions{
		Repository: imageRepository, Tag: imageTag, Context: ctx,
	}, dc.AuthConfiguration{})
	if err != nil {
		return fmt.Errorf("redistest: image %s is not here and cannot be pulled (docker-image.sh makes one): %w", imageName, err)
	}
	return nil
}

// onThisMachine refuses a daemon elsewhere: the ports that it publishes are not on our loopback.
func onThisMachine(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return errors.New("redistest: DOCKER_HOST is not a URL")
	}
	if u.Scheme == "unix" || u.Scheme == "npipe" || u.Hostname() == "localhost" {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("redistest: the docker daemon is on another machine, %q", u.Hostname())
}

func closeDocker() {
	if d := binary.docker.peek(); d != nil {
		d.pool.Client.HTTPClient.CloseIdleConnections()
		d.patient.Client.HTTPClient.CloseIdleConnections()
	}
}
