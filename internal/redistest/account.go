package redistest

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	accountName     = "least"
	accountPassword = "least-privileged"
)

// accountWanted reports whether clients are to have the least rights.
func accountWanted() bool { return os.Getenv("REDISTEST_ACL") == "1" }

// withAccount returns a spec with the user of [LeastPrivileged], if it is wanted. Sentinels have none.
func (s spec) withAccount() (spec, error) {
	if !accountWanted() || s.sentinel != "" {
		return s, nil
	}
	var err error
	s.account, err = account()
	return s, err
}

// LeastPrivileged returns rdb, or, with REDISTEST_ACL=1, a client with the same options but for the user, which is closed
// when t ends: one who may use every key and channel, but no command that lock/doc.go does not list. A client that names a
// user keeps it, and so does one that asks sentinels.
func LeastPrivileged(t testing.TB, rdb redis.UniversalClient) redis.UniversalClient {
	t.Helper()
	if !accountWanted() {
		return rdb
	}
	if _, err := choose(Own); err != nil {
		t.Fatalf("redistest: REDISTEST_ACL=1 wants servers that are started here: %v", err)
	}
	switch c := rdb.(type) {
	case *redis.Client:
		o := *c.Options()
		if o.Username != "" || o.Addr == "FailoverClient" {
			return rdb
		}
		o.Username, o.Password = accountName, accountPassword
		o.PushNotificationProcessor = nil // that one is rdb's
		least := redis.NewClient(&o)
		t.Cleanup(func() { _ = least.Close() })
		return least
	case *redis.ClusterClient:
		o := *c.Options()
		if o.Username != "" {
			return rdb
		}
		o.Username, o.Password = accountName, accountPassword
		o.PushNotificationProcessor = nil // that one is rdb's
		least := redis.NewClusterClient(&o)
		t.Cleanup(func() { _ = least.Close() })
		return least
	default:
		return rdb
	}
}

var listedRight = regexp.MustCompile(`\+[a-z|]+`)

// account returns the line of the user of [LeastPrivileged], as an ACL file has it.
func account() ([]string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	read := func() ([]byte, error) {
		return os.ReadFile(filepath.Join(folder, "lock", "doc.go")) //nolint:gosec // of this module
	}
	doc, err := read()
	for errors.Is(err, os.ErrNotExist) && folder != filepath.Dir(folder) { // the tests are of a package below
		folder = filepath.Dir(folder)
		doc, err = read()
	}
	if err != nil {
		return nil, err
	}
	_, list, found := strings.Cut(string(doc), "// A Redis user who may do this")
	list, _, ended := strings.Cut(list, "// # ")
	rights := listedRight.FindAllString(list, -1)
	if !found || !ended || len(rights) < 20 {
		return nil, errors.New("redistest: lock/doc.go does not list the rights")
	}
	return append([]string{accountName, "on", ">" + accountPassword, "resetkeys", "resetchannels", "~*", "&*", "-@all"}, rights...), nil
}
