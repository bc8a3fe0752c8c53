package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// fencedSet compares, raises and writes in one script, which Redis executes alone.
//
// Fences are compared as text of 19 digits. As numbers they would be wrong: Lua's are floats, in which neighbours beyond
// 2^53 are equal. The first key has no expiry: if it were forgotten, stale writes would be let in again.
var fencedSet = redis.NewScript(`
	-- KEYS 1 the job's fence, 2 what is written    ARGV 1 fence, 19 digits, 2 value    reply 1, or 0: stale
	local last = redis.call("GET", KEYS[1])
	if last and last > ARGV[1] then
		return 0
	end
	redis.call("SET", KEYS[1], ARGV[1])
	redis.call("SET", KEYS[2], ARGV[2])
	return 1`)

// setRedis sets a key under the job's fence. The braces put both keys into one slot of a Cluster.
func setRedis(ctx context.Context, rdb redis.UniversalClient, job, key, value string, fence int64) error {
	keys := []string{"{" + job + "}:fence", "{" + job + "}:" + key}
	accepted, err := fencedSet.Run(ctx, rdb, keys, fmt.Sprintf("%019d", fence), value).Bool()
	if err == nil && !accepted {
		err = fmt.Errorf("%w %d", errStale, fence)
	}
	return err
}
