package lock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// NoExpiry as a TTL means that a lock stays until somebody unlocks it. As a
// time left it says that there is no end; being the largest Duration, it keeps
// comparisons of time left true.
const NoExpiry time.Duration = math.MaxInt64

// Limits and defaults of this package.
const (
	// MaxName is the longest resource, owner or run, in bytes.
	MaxName = 512
	// MinTTL is the shortest lease time.
	MinTTL = 10 * time.Millisecond
	// MaxAll is how many resources TryLockAll takes at the most.
	MaxAll = 1000
	// MaxCause is where a Settlement's cause is cut, in bytes.
	MaxCause = 512

	maxShards     = 16384
	clusterShards = 64
)

// Config says how a Locker works. The zero value is usable.
type Config struct {
	// Namespace is the prefix of all keys and channels, without braces.
	// Lockers that share it share their locks. Default "lockingworker".
	Namespace string
	// Owner is the identity of Hold, TryHold and Do where the claim names
	// none. Default host-pid-random.
	Owner string
	// TTL is the lease time of a lock. Default 30s; at least 10ms; NoExpiry
	// for none.
	TTL time.Duration
	// Shards is over how many groups of keys the resources are spread; it is
	// fixed for the life of a namespace, and every call checks it. Default 1,
	// on Redis Cluster 64.
	Shards int
	// Replicas is how many replicas must acknowledge each grant, renewal and
	// outcome (WAIT, on the connection that wrote it) before it counts. Half a
	// second is waited for them, and less where the call, the renewal of a short
	// lease or the client's ReadTimeout leaves less; then it is ErrNotReplicated.
	// A failover loses less then, but see the package's documentation. Default 0:
	// none.
	Replicas int
	// Observers are told of this Locker's own events, one after another, on a
	// goroutine of their own. Beyond 1,024 waiting events the oldest are
	// dropped, which an EventMissed reports.
	Observers []func(Event)
	// Publish sends lock, unlock and extend events to Watch of the whole
	// cluster too. Expiries and the outcomes of jobs are always sent.
	Publish bool
	// Tracer is told of each operation when it begins and when it has ended.
	// Default: none, which costs nothing.
	Tracer Tracer
	// Logger gets what no return value can carry. Default: no output.
	Logger *zap.Logger
}

// complete checks the configuration and fills in the defaults. All that is
// wrong is joined into one error.
func (c Config) complete(rdb redis.UniversalClient) (Config, error) {
	var errs []error
	if c.Namespace == "" {
		c.Namespace = "lockingworker"
	}
	if err := checkName("Config.Namespace", c.Namespace); err != nil {
		errs = append(errs, err)
	}
	if strings.ContainsAny(c.Namespace, "{}") {
		errs = append(errs, invalid("Config.Namespace %q: braces are reserved for hash tags", c.Namespace))
	}
	if c.Owner == "" {
		c.Owner = defaultOwner()
	}
	if err := checkName("Config.Owner", c.Owner); err != nil {
		errs = append(errs, err)
	}
	if c.TTL == 0 {
		c.TTL = 30 * time.Second
	}
	if err := checkTTL("Config.TTL", c.TTL); err != nil {
		errs = append(errs, err)
	}
	if c.Shards == 0 {
		c.Shards = 1
		if _, ok := rdb.(*redis.ClusterClient); ok {
			c.Shards = clusterShards
		}
	}
	if c.Shards < 1 || c.Shards > maxShards {
		errs = append(errs, invalid("Config.Shards %d: want 1 to %d", c.Shards, maxShards))
	}
	if c.Replicas < 0 {
		errs = append(errs, invalid("Config.Replicas %d: want 0 or more", c.Replicas))
	}
	for i, o := range c.Observers {
		if o == nil {
			errs = append(errs, invalid("Config.Observers[%d] is nil", i))
		}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, errors.Join(errs...)
}

func checkName(field, name string) error {
	if name == "" {
		return invalid("%s is empty", field)
	}
	if len(name) > MaxName {
		return invalid("%s has %d bytes: at most %d", field, len(name), MaxName)
	}
	return nil
}

func checkTTL(field string, ttl time.Duration) error {
	if ttl < MinTTL {
		return invalid("%s %v: want at least %v", field, ttl, MinTTL)
	}
	return nil
}

func defaultOwner() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	if len(host) > 256 {
		host = host[:256]
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
}
