package sim

import (
	"slices"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// An index is a sorted set that stays fast when it is large; the embedded server
// sorts its own anew for each command. It is for counting (see scale_test.go) only.
type index struct {
	scores map[string]float64
	parts  [][]element // in order, each of some hundreds
}

type element struct {
	score  float64
	member string
}

func (a element) compare(b element) int {
	switch {
	case a.score < b.score:
		return -1
	case a.score > b.score:
		return 1
	}
	return strings.Compare(a.member, b.member)
}

const partSize = 512

// at returns where an element is, or would be.
func (x *index) at(e element) (part, place int, found bool) {
	part, _ = slices.BinarySearchFunc(x.parts, e, func(p []element, e element) int { return p[len(p)-1].compare(e) })
	if part == len(x.parts) {
		return part, 0, false
	}
	place, found = slices.BinarySearchFunc(x.parts[part], e, element.compare)
	return part, place, found
}

func (x *index) add(e element) (added int) {
	old, there := x.scores[e.member]
	if there {
		x.remove(element{old, e.member})
	}
	x.scores[e.member] = e.score
	part, place, _ := x.at(e)
	switch {
	case len(x.parts) == 0:
		x.parts = [][]element{{e}}
	case part == len(x.parts):
		part--
		place = len(x.parts[part])
		fallthrough
	default:
		p := slices.Insert(x.parts[part], place, e)
		x.parts[part] = p
		if len(p) > partSize {
			x.parts[part] = slices.Clone(p[:partSize/2])
			x.parts = slices.Insert(x.parts, part+1, slices.Clone(p[partSize/2:]))
		}
	}
	if there {
		return 0
	}
	return 1
}

func (x *index) remove(e element) {
	delete(x.scores, e.member)
	if part, place, found := x.at(e); found {
		if x.parts[part] = slices.Delete(x.parts[part], place, place+1); len(x.parts[part]) == 0 {
			x.parts = slices.Delete(x.parts, part, part+1)
		}
	}
}

// from yields the elements from one on.
func (x *index) from(e element, yield func(element) bool) {
	part, place, _ := x.at(e)
	for ; part < len(x.parts); part++ {
		for _, e := range x.parts[part][place:] {
			if !yield(e) {
				return
			}
		}
		place = 0
	}
}

// rank is how many elements are before one.
func (x *index) rank(e element) int {
	part, place, _ := x.at(e)
	for _, p := range x.parts[:part] {
		place += len(p)
	}
	return place
}

// indexed executes the commands on sorted sets that lock/ uses, as it uses them.
func (s *redisServer) indexed(peer *server.Peer, cmd string, args []string) bool {
	if !strings.HasPrefix(cmd, "Z") {
		return false
	}
	x := s.indexes[args[0]]
	if x == nil {
		x = &index{scores: map[string]float64{}}
		s.indexes[args[0]] = x
	}
	score := func(text string) float64 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			s.w.violate("server", "%s %q", cmd, args)
		}
		return f
	}
	switch cmd {
	case "ZADD":
		n := 0
		for i := 1; i+1 < len(args); i += 2 {
			n += x.add(element{score(args[i]), args[i+1]})
		}
		peer.WriteInt(n)
	case "ZREM":
		n := 0
		for _, m := range args[1:] {
			if old, there := x.scores[m]; there {
				x.remove(element{old, m})
				n++
			}
		}
		peer.WriteInt(n)
	case "ZSCORE":
		if f, there := x.scores[args[1]]; there {
			peer.WriteBulk(strconv.FormatFloat(f, 'f', -1, 64))
		} else {
			peer.WriteNull()
		}
	case "ZCARD":
		peer.WriteInt(len(x.scores))
	case "ZLEXCOUNT":
		peer.WriteInt(max(0, x.rank(lexBound(args[2]))-x.rank(lexBound(args[1]))))
	case "ZRANGEBYLEX":
		to := lexBound(args[2])
		s.page(peer, x, lexBound(args[1]), args[4], args[5], func(e element) bool { return e.compare(to) < 0 })
	case "ZRANGEBYSCORE":
		to := score(args[2])
		s.page(peer, x, element{score(args[1]), ""}, args[4], args[5], func(e element) bool { return e.score <= to })
	default:
		s.w.violate("server", "%s %q", cmd, args)
	}
	return true
}

// lexBound turns [member and (member into the first element that is not before it.
func lexBound(bound string) element {
	if bound[0] == '(' {
		return element{0, bound[1:] + "\x00"}
	}
	return element{0, bound[1:]}
}

func (s *redisServer) page(peer *server.Peer, x *index, from element, offset, count string, within func(element) bool) {
	skip, n := number(offset), number(count)
	var found []string
	x.from(from, func(e element) bool {
		if !within(e) || int64(len(found)) == n {
			return false
		}
		if skip--; skip < 0 {
			found = append(found, e.member)
		}
		return int64(len(found)) < n
	})
	peer.WriteStrings(found)
}
