package redistest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
)

// pod is a network that several containers share, so that the nodes of a cluster have the same addresses for each other
// as for clients: 127.0.0.1 and the port that is published. It belongs to a container of its own, a server that listens on
// no port; so the ports stay published whichever node is killed.
type pod struct {
	holder *container
	ports  []int
}

// startPod publishes n free ports.
func startPod(ctx context.Context, n int) (*pod, error) {
	d, err := docker()
	if err != nil {
		return nil, err
	}
	p := &pod{}
	p.holder, err = onFreePort(ctx, func(_ context.Context, first int) (*container, error) {
		p.ports = []int{first}
		for len(p.ports) < n {
			port, err := freePort()
			if err != nil {
				return nil, err
			}
			p.ports = append(p.ports, port)
		}
		bindings := map[dc.Port][]dc.PortBinding{}
		for _, port := range p.ports {
			maps.Copy(bindings, publish(port, port))
		}
		return d.run(&dockertest.RunOptions{
			Cmd:          []string{"redis-server", "--port", "0", "--save", "", "--unixsocket", "/tmp/holder.sock"},
			PortBindings: bindings,
		}, "")
	})
	return p, err
}

// start starts a node of the pod.
func (p *pod) start(ctx context.Context, s spec, i int) (*container, error) {
	return runContainer(ctx, s, p.ports[i], "container:"+p.holder.resource.Container.ID)
}

// startPodNodes starts all nodes of a cluster in one pod.
func startPodNodes(ctx context.Context, s spec) ([]*node, func() error, error) {
	p, err := startPod(ctx, 2*masters)
	if err != nil {
		return nil, nil, err
	}
	nodes, end, err := startAll(func(i int) (*node, error) {
		s, err := s.withAccount()
		if err != nil {
			return nil, err
		}
		c, err := p.start(ctx, s, i)
		if err != nil {
			return nil, fmt.Errorf("redistest: node %d: %w", i, err)
		}
		return ownNode(fromDocker, c), nil
	})
	if err != nil {
		return nil, nil, errors.Join(err, p.holder.remove())
	}
	return nodes, func() error { return errors.Join(end(), p.holder.remove()) }, nil
}
