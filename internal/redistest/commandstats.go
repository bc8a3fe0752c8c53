package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Commandstats returns how often each command was executed since the server started, or since CONFIG RESETSTAT, from
// INFO commandstats: name in lower case ("evalsha", "config|get") to calls. Calls that scripts make are counted too, and
// so are those of other tests on a shared server: count differences on a server of the test's own.
func Commandstats(ctx context.Context, client redis.Cmdable) (map[string]int64, error) {
	info, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, fmt.Errorf("redistest: INFO commandstats: %w", err)
	}
	stats := map[string]int64{}
	for line := range strings.Lines(info) {
		// cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0
		line, found := strings.CutPrefix(line, "cmdstat_")
		if !found {
			continue
		}
		name, fields, _ := strings.Cut(line, ":calls=")
		calls, _, _ := strings.Cut(fields, ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("redistest: INFO commandstats: line of %q: %w", name, err)
		}
		stats[name] = n
	}
	return stats, nil
}
