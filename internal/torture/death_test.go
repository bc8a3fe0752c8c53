package torture

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A deathHook has its process die before a script is sent, or after Redis has
// executed it and nobody has read the answer.
type deathHook struct{ p *process }

func (h deathHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h deathHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		after := h.before(cmd)
		err := next(ctx, cmd)
		h.p.at(after)
		return err
	}
}

func (h deathHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		after := h.before(cmds...)
		err := next(ctx, cmds)
		h.p.at(after)
		return err
	}
}

// isWorkedFor tells whether an argument is the key of a job that is waited for.
func isWorkedFor(arg any) bool {
	name, ok := arg.(string)
	return ok && strings.HasPrefix(name, "key ")
}

// before is the point before something is sent; it returns the one after that.
// While a settlement is under way, every script counts as one: renewals, too.
func (h deathHook) before(cmds ...redis.Cmder) point {
	script := false
	for _, cmd := range cmds {
		script = script || strings.HasPrefix(cmd.Name(), "eval") && slices.ContainsFunc(cmd.Args(), isWorkedFor)
	}
	switch {
	case !script:
		return "-"
	case h.p.settling.Load():
		h.p.at(beforeSettle)
		return afterSettle
	default:
		h.p.at(beforeClaim)
		return afterClaim
	}
}
