package lock_test

import (
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// Redis refuses a command with many arguments before it looks at who sends it, with
// an error that names no cause.
func TestMissingPasswordIsNamed(t *testing.T) {
	server := redistest.Start(t, redistest.Own)
	rdb := server.Client(t)
	l := must[*lock.Locker](t)(lock.New(rdb, lock.Config{Namespace: server.Namespace(t)}))
	t.Cleanup(func() { _ = l.Close() })
	must[lock.Results](t)(l.TryLock(bounded(t), lock.Claim{Resource: "r", Owner: "me"}))
	if err := server.Client(t).ConfigSet(bounded(t), "requirepass", "another").Err(); err != nil {
		t.Fatal(err)
	}
	other := must[*lock.Locker](t)(lock.New(server.Client(t), lock.Config{Namespace: server.Namespace(t)}))
	t.Cleanup(func() { _ = other.Close() })
	if _, err := other.TryLock(bounded(t), lock.Claim{Resource: "r", Owner: "me"}); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("error is %v", err)
	}
}
