//go:build unix

package lockingworker_test

import (
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
)

// A process that was stopped for longer than its lease finds, when it runs on, that its lease is lost; and Redis does not
// believe it, whatever it sends.
func TestStaleHolderCannotSettle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		settled bool // whether the other one has settled when the stopped one runs on
	}{
		{"another has settled", true},
		{"another is at it", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, short, 5)
			proxy := redistest.NewProxy(t, b.server.Addr())
			stale := b.start(func(s *spec) { s.Grant, s.URL = true, through(t, b, proxy) })
			granted := stale.await("acquired")
			other := b.start(nil)
			other.await("locked")

			stale.signal(syscall.SIGSTOP)
			stopped := time.NewTimer(3 * short)
			defer stopped.Stop()
			if s := other.await("acquired"); s.Attempt != 2 || s.Fence <= granted.Fence {
				t.Errorf("%+v after %+v", s, granted)
			}
			if tt.settled {
				other.order("succeed")
				checkResults(t, "completed", other)
			}
			<-stopped.C
			stale.signal(syscall.SIGCONT)

			if s := stale.await("cancelled"); fmt.Sprint(s.Is) != "[lease lost]" {
				t.Errorf("the work's context ended: %+v", s)
			}
			stale.order("done")
			if s := stale.await("settled"); fmt.Sprint(s.Is) != "[lease lost]" {
				t.Errorf("Done: %+v", s)
			}

			before := entries(t, b)
			sent := scripts(proxy)
			stale.order("settle")
			if s := stale.await("settled"); fmt.Sprint(s.Is) != "[lease lost]" {
				t.Errorf("Settle: %+v", s)
			}
			if scripts(proxy) == sent {
				t.Error("nothing was sent")
			}
			after := entries(t, b)
			if len(before["jobs"]) != 1 || !tt.settled && len(before["locks"]) != 1 {
				t.Errorf("entries: %v", before)
			}
			for key := range before {
				if !maps.Equal(before[key], after[key]) {
					t.Errorf("%s was %v, is %v", key, before[key], after[key])
				}
			}
			if !tt.settled {
				other.order("succeed")
				checkResults(t, "completed", other)
			}
		})
	}
}

// through is the server's URL by way of the proxy.
func through(t *testing.T, b *bench, proxy *redistest.Proxy) string {
	t.Helper()
	o := b.server.Options()
	return fmt.Sprintf("redis://%s:%s@%s/%d", o.Username, o.Password, proxy.Addr(), o.DB)
}

func scripts(proxy *redistest.Proxy) int {
	return proxy.Commands()["evalsha"] + proxy.Commands()["eval"]
}

// entries returns what stands in Redis under lock, job, queue and retention. Where a lock is held its expiry moves with
// each renewal; it is left out.
func entries(t *testing.T, b *bench) map[string]map[string]string {
	t.Helper()
	client := b.server.Client(t)
	key := func(name string) string { return fmt.Sprintf("{%s:0}:%s", b.spec.Namespace, name) }
	all := map[string]map[string]string{}
	for _, name := range []string{"locks", "jobs"} {
		fields, err := client.HGetAll(t.Context(), key(name)).Result()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = fields
	}
	for field, entry := range all["locks"] {
		all["locks"][field] = entry[:1] + entry[15:] // L or O, and what follows the expiry
	}
	for _, name := range []string{"queue", "retention"} {
		members, err := client.ZRangeArgsWithScores(t.Context(), redis.ZRangeArgs{Key: key(name), Start: 0, Stop: -1}).Result()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = map[string]string{}
		for _, m := range members {
			all[name][fmt.Sprint(m.Member)] = fmt.Sprint(m.Score)
		}
	}
	return all
}
