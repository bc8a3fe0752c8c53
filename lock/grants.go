package lock

import (
	"strings"
	"time"
)

// Grants are what one call granted, as it stands in Redis: the entry of names[n]
// is head, the position in the call and what the client knew beforehand.
type grants struct {
	head  string   // letter, expiry, first 16 digits of the fence
	first int64    // the fence of names[0]; the others follow
	names []string // as they were sent
	texts []string // a tail for each; or, of rests,
	rests bool     // what follows the position in each: the first again after the last
}

// grantsOf returns what a lock call granted, where nothing else is noted. Without
// a lease time of all it is known of each by itself.
func grantsOf(c *call) *grants {
	fence, index := c.str(2), single
	if len(fence) == 17 && fence[16:] == grouped {
		fence, index = fence[:16], grouped
	}
	base, _ := parseDigits(fence)
	g := &grants{first: base * 1000, names: c.names, texts: c.texts, rests: c.rests()}
	if !g.rests {
		g.first += position(c.texts[0])
	}
	if c.args[1] != "" {
		g.head = index + expiryText(c.stamp, leaseIn(c.lockTail(0))) + fence
	}
	return g
}

// find returns which of the grants a result is of, whose fields its caller may
// have changed meanwhile; -1 for none.
func (g *grants) find(r *Result) int {
	if g == nil {
		return -1
	}
	n := r.Fence - g.first
	if n < 0 || n >= int64(len(g.names)) || g.names[n] != r.Resource || ownerIn(g.tail(int(n))) != r.Owner {
		return -1
	}
	return int(n)
}

// tail returns the entry of the n-th from its nonce on.
func (g *grants) tail(n int) string {
	if g.rests {
		return g.texts[n%len(g.texts)]
	}
	return g.texts[n][3:]
}

func (g *grants) entry(n int) string {
	if !g.rests {
		return g.head + g.texts[n]
	}
	return g.head + digits(int64(n), 3) + g.tail(n)
}

// renewed returns the same grants with another letter and expiry, and another
// lease time.
func (g *grants) renewed(head, lease string) *grants {
	next := &grants{head: head + g.head[15:], first: g.first, names: g.names, texts: g.texts, rests: g.rests}
	at := tailHead - 14 // of the lease
	if g.rests {
		at -= 3
	}
	if g.texts[0][at:at+14] != lease {
		next.texts = make([]string, len(g.texts))
		for i, old := range g.texts {
			next.texts[i] = old[:at] + lease + old[at+14:]
		}
	}
	return next
}

// renewedAs tells how the index has what an extend call has set.
func (c *call) renewedAs() string {
	if c.str(2) == "0" {
		return c.str(3)
	}
	return single
}

// expiry returns their end in ms of Redis time.
func (g *grants) expiry() int64 {
	ms, _ := parseDigits(g.head[1:15])
	return ms
}

const (
	// single and grouped say how the index of what expires has a grant: by itself,
	// or as one of a group.
	single  = "L"
	grouped = "G"
	// groupLease is how long the lease of a group is at most: so long its member of
	// the index may stay there, if its locks are released in another composition.
	groupLease = time.Minute
	// A group's member is longer than any name, so that both can be told apart, and
	// short enough to be read in passing.
	groupLeast = MaxName + 1
	groupMost  = 16 << 10
)

// indexOf tells how the index may have these resources, locked in one call.
func indexOf(names []string, lease time.Duration) string {
	size := len(names) - 1
	for _, name := range names {
		size += len(name)
	}
	if lease > groupLease || size < groupLeast || size > groupMost {
		return single
	}
	for _, name := range names {
		if strings.IndexByte(name, 0) >= 0 {
			return single
		}
	}
	return grouped
}
