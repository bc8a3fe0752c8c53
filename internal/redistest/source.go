package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// source is where a server comes from. The order is the order of preference.
type source string

const (
	fromURL      source = "url"
	fromProgram  source = "redis-server"
	fromDocker   source = "docker"
	fromEmbedded source = "embedded"
)

var sources = []source{fromURL, fromProgram, fromDocker, fromEmbedded}

// errUnmet says that no server here can meet a need: a reason to skip a test, not to fail it.
var errUnmet = errors.New("redistest: no server here meets the need")

// serves reports whether this source can meet the need at all.
func (s source) serves(need Need) bool {
	switch s {
	case fromProgram, fromDocker:
		return true
	case fromURL:
		return need != Own
	default:
		return need == Any
	}
}

// available reports why this source cannot be used here, or nil.
func (s source) available() error {
	switch s {
	case fromURL:
		address := os.Getenv("REDIS_URL")
		if address == "" {
			return errors.New("redistest: REDIS_URL is not set")
		}
		return nil
	case fromProgram:
		if _, err := exec.LookPath("redis-server"); err != nil {
			return fmt.Errorf("redistest: redis-server is not on PATH: %w", err)
		}
		return nil
	case fromDocker:
		_, err := docker()
		return err
	case fromEmbedded:
		return nil
	default:
		return fmt.Errorf("redistest: REDISTEST=%s: want url, redis-server, docker or embedded", string(s))
	}
}

// choose returns the first source that is here and meets the need, or errUnmet.
func choose(need Need) (source, error) {
	candidates := sources
	if forced := source(os.Getenv("REDISTEST")); forced != "" {
		if err := forced.available(); err != nil {
			return "", fmt.Errorf("redistest: REDISTEST=%s, which is not to be had: %w", string(forced), err)
		}
		candidates = []source{forced}
	}
	for _, s := range candidates {
		if s.serves(need) && s.available() == nil {
			return s, nil
		}
	}
	return "", errUnmet
}

// checkLoopback refuses a REDIS_URL that leads to another machine: tests cut, stall and load what they are given. The
// error never shows the URL, which may hold a password.
func checkLoopback(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("redistest: REDIS_URL is not a URL")
	}
	host := u.Hostname()
	if u.Scheme == "unix" || strings.EqualFold(host, "localhost") || host == "" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("redistest: REDIS_URL leads to %q; tests talk to loopback addresses only", host)
}
