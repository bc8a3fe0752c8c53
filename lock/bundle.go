package lock

import (
	"slices"
	"sort"
	"strconv"
	"time"
)

// A layout says how the calls of a script become one: where its arguments and
// its reply speak of the single resources.
type layout struct {
	shared   int // arguments before those of the resources: the same in all calls
	least    int // but of this one the least holds for all; -1: none
	width    int // arguments of a resource; 0: a name and perhaps a text, in columns
	resource int // which of them is its name,
	tail     int // and its tail; -1: it has none. In columns the text may be one.
	head     int // items of the reply before those of the resources
	answers  int // items of the reply for each; 0: notes, of some of them
}

// A bundle is what one script call does: one call of ours, or several of one
// shard that were made at the same time. Each keeps its nonce, its time and its
// answer; only calls that were never sent travel together.
type bundle struct {
	calls []*call
	alone bool      // nobody joins it
	cmd   scriptCmd // of the send that is under way
	count []int     // resources of the calls up to each, with it
	names map[string]struct{}
}

// bundles puts calls together that may travel as one, in the order in which they
// were made.
func bundles(calls []*call, sent time.Duration) []*bundle {
	all := make([]*bundle, 0, min(len(calls), 4))
	if len(calls) == 1 {
		return append(all, &bundle{calls: calls})
	}
	for _, c := range calls {
		alone := c.kin == "" || c.began != 0 || c.until-sent < gatePatience // of a bundle, the least time counts for all
		if alone || !joinAny(all, c, len(calls)) {
			all = append(all, &bundle{calls: []*call{c}, alone: alone})
		}
	}
	return all
}

// lately is how many bundles a call is tried with. There are more only where many
// call for the same resource, and then none of the earlier ones will do either.
const lately = 8

func joinAny(all []*bundle, c *call, most int) bool {
	for _, b := range all[max(0, len(all)-lately):] {
		if b.join(c, most) {
			return true
		}
	}
	return false
}

// join takes c into the bundle if that is possible. A resource stands in a script
// call once: the next call for it goes by itself. The bundle will not have more
// than most calls.
func (b *bundle) join(c *call, most int) bool {
	first := b.calls[0]
	if b.alone || first.kin != c.kin || first.script != c.script || first.shard != c.shard || first.once != c.once {
		return false
	}
	y := c.script.layout
	for i := range y.shared {
		if i != y.least && first.args[i] != c.args[i] {
			return false
		}
	}
	if b.names == nil {
		b.names = make(map[string]struct{}, min(most, 64))
		b.add(first)
	}
	if b.count[len(b.count)-1]+c.size() > c.script.most() || b.has(c) {
		return false
	}
	c.place(b.count[len(b.count)-1])
	b.calls = append(b.calls, c)
	b.add(c)
	return true
}

func (b *bundle) add(c *call) {
	n := c.size()
	if len(b.count) > 0 {
		n += b.count[len(b.count)-1]
	}
	b.count = append(b.count, n)
	for i := range c.size() {
		b.names[c.name(i)] = struct{}{}
	}
}

func (b *bundle) has(c *call) bool {
	for i := range c.size() {
		if _, twice := b.names[c.name(i)]; twice {
			return true
		}
	}
	return false
}

// most is how many resources a call of the script takes.
func (s *script) most() int {
	if s.layout.width == 0 {
		return chunk
	}
	return jobChunk
}

// size is how many resources a call is about; 0 if its script has no layout.
func (c *call) size() int {
	switch y := c.script.layout; {
	case y == nil:
		return 0
	case y.width == 0:
		return len(c.names)
	default:
		return (len(c.args) - y.shared) / y.width
	}
}

func (c *call) name(i int) string {
	y := c.script.layout
	if y.width == 0 {
		return c.names[i]
	}
	return c.args[y.shared+i*y.width+y.resource].(string)
}

// place gives the tails of a call that travels with others the positions from at
// on, which are parts of the fences. What was made of the old ones stays as it is.
func (c *call) place(at int) {
	y := c.script.layout
	switch {
	case y.tail < 0 || at == 0:
	case y.width == 0:
		texts := make([]string, len(c.texts))
		for i, text := range c.texts {
			texts[i] = withPosition(text, at+i)
		}
		c.texts = texts
	default:
		args := append([]any(nil), c.args...)
		for i := range c.size() {
			tail := &args[y.shared+i*y.width+y.tail]
			*tail = withPosition((*tail).(string), at+i)
		}
		c.args = args
	}
}

// args appends the bundle's own arguments.
func (b *bundle) args(args []any) []any {
	if first := b.calls[0]; len(b.calls) == 1 {
		args = append(args, first.args...)
	} else {
		y := first.script.layout
		from := len(args)
		args = append(args, first.args[:y.shared]...)
		for _, c := range b.calls {
			if y.least >= 0 && c.args[y.least].(string) < args[from+y.least].(string) {
				args[from+y.least] = c.args[y.least]
			}
			args = append(args, c.args[y.shared:]...)
		}
	}
	for _, c := range b.calls {
		for i := range c.names { // pointers, which need no memory of their own
			args = append(args, &c.names[i])
		}
	}
	for _, c := range b.calls {
		for i := range c.texts {
			args = append(args, &c.texts[i])
		}
	}
	return args
}

// size is how many arguments of its own the bundle has, at most.
func (b *bundle) size() int {
	n := 0
	for _, c := range b.calls {
		n += len(c.args) + len(c.names) + len(c.texts)
	}
	return n
}

// share gives each call its part of the reply, as if it had been alone.
func (b *bundle) share(reply []any) {
	for _, c := range b.calls {
		c.reply = reply
	}
	y := b.calls[0].script.layout
	if len(b.calls) == 1 || len(reply) <= y.head || reply[0] != "ok" {
		return
	}
	items := reply[y.head:]
	if y.answers > 0 {
		for i, c := range b.calls {
			from, to := b.before(i)*y.answers, b.count[i]*y.answers
			if to > len(items) {
				from, to = 0, 0 // not ours
			}
			c.reply = slices.Concat(reply[:y.head], items[from:to])
		}
		return
	}
	for _, c := range b.calls {
		c.reply = reply[:y.head:y.head]
	}
	for ; len(items) >= 2; items = items[2:] {
		text, _ := items[0].(string)
		at, err := strconv.Atoi(text)
		i := sort.SearchInts(b.count, at)
		if err != nil || at < 1 || i == len(b.calls) {
			continue
		}
		b.calls[i].reply = append(b.calls[i].reply, strconv.Itoa(at-b.before(i)), items[1])
	}
}

// before is how many resources the calls before the i-th have.
func (b *bundle) before(i int) int {
	if i == 0 {
		return 0
	}
	return b.count[i-1]
}
