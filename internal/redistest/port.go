package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const loopback = "127.0.0.1"

// Ports are drawn from below the range from which Linux takes the ports of outgoing connections (32768 and up), and so
// that a cluster's bus port, which is 10000 above, is a port too.
const (
	lowestPort  = 15000
	highestPort = 32000
	busOffset   = 10000
)

// freePort returns a port that nobody listens on just now, nor on the bus port that goes with it. Somebody may take it
// before it is used: whoever starts a server on it must be ready to draw again.
func freePort() (int, error) {
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if free(port) && free(port+busOffset) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("redistest: no free port between %d and %d in 100 draws", lowestPort, highestPort)
}

func free(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func address(port int) string {
	return net.JoinHostPort(loopback, strconv.Itoa(port))
}
