package lock

import (
	"slices"
	"strconv"
	"time"
)

// never stands for the expiry and the lease of a lock that has none.
const never = "99999999999999"

// An entry is what stands in Redis under a resource; head.lua tells its shape.
type entry struct {
	offered bool // to a waiter; then only expiry is set
	expiry  int64
	fence   int64
	nonce   string
	lease   time.Duration
	owner   string
}

const (
	offerHead = 15 // O until
	lockHead  = 59 // L or G, expiry, fence, nonce, lease
)

func parseEntry(s string) (entry, bool) {
	var e entry
	if len(s) <= offerHead || s[0] != 'L' && s[0] != 'G' && s[0] != 'O' {
		return e, false
	}
	var ok bool
	if e.expiry, ok = parseDigits(s[1:15]); !ok {
		return e, false
	}
	if s[0] == 'O' {
		e.offered = true
		return e, isMember(s[offerHead:])
	}
	if len(s) <= lockHead || !isNonce(s[34:45]) {
		return e, false
	}
	var okFence, okLease bool
	var lease int64
	e.fence, okFence = parseFence(s[15:34])
	lease, okLease = parseDigits(s[45:59])
	e.nonce, e.owner = s[34:45], s[lockHead:]
	e.lease = duration(lease)
	return e, okFence && okLease
}

// duration turns ms into a Duration. What does not fit into one lasts for 292
// years at least: the longest but NoExpiry.
func duration(ms int64) time.Duration {
	switch {
	case ms >= neverMillis:
		return NoExpiry
	case ms > int64(NoExpiry/time.Millisecond):
		return NoExpiry - 1
	default:
		return time.Duration(ms) * time.Millisecond
	}
}

// isMember tells whether s is a member of a queue: f place arrival waiter.
func isMember(s string) bool {
	const tail = 16 + 11
	if len(s) < 1+tail || s[0] != 'f' {
		return false
	}
	_, ok := parseDigits(s[len(s)-tail : len(s)-11])
	return ok && isNonce(s[len(s)-11:])
}

// isNonce tells whether s may be a nonce or a waiter: base64 for URLs.
func isNonce(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) == 11
}

// left returns how long the entry is valid after stamp (µs of Redis time): for a
// lock no longer than its lease, whose whole is left where the server's clock is
// behind the one that it was written by.
func (e entry) left(stamp int64) time.Duration {
	left := NoExpiry
	if e.expiry != neverMillis {
		left = duration(max(0, e.expiry-stamp/1000))
	}
	if e.offered {
		return left
	}
	return min(left, e.lease)
}

const neverMillis = 99999999999999

// parseFence reads 19 digits, of which entry.lua wants the first below 9.
func parseFence(s string) (int64, bool) {
	n, ok := parseDigits(s)
	return n, ok && len(s) == 19 && s[0] != '9'
}

func parseDigits(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // then it is the largest
		return 0, false
	}
	return n, true
}

// expiryText is what a script wrote as the end of a lease that began at stamp.
func expiryText(stamp int64, lease time.Duration) string {
	if lease == NoExpiry {
		return never
	}
	return digits(stamp/1000+int64(lease/time.Millisecond), 14)
}

// millis writes a time to live in 14 digits of ms.
func millis(d time.Duration) string {
	if d == NoExpiry {
		return never
	}
	return digits(int64(d/time.Millisecond), 14)
}

// digits writes a number that is not negative in so many digits.
func digits(n int64, width int) string {
	var buffer [19]byte
	return string(appendDigits(buffer[:0], n, width))
}

// tailHead is how long a tail is without its owner: position, nonce and lease.
const tailHead = 3 + 11 + 14

// appendTail writes the part of an entry that the client knows: the position in
// its call, a nonce, the lease and the owner.
func appendTail(b []byte, position int, lease, owner string) []byte {
	b = append(b, byte('0'+position/100), byte('0'+position/10%10), byte('0'+position%10))
	b = appendNonce(b)
	b = append(b, lease...)
	return append(b, owner...)
}

// withPosition returns a tail with another position.
func withPosition(tail string, position int) string {
	return string([]byte{byte('0' + position/100), byte('0' + position/10%10), byte('0' + position%10)}) + tail[3:]
}

// position reads the position out of a tail.
func position(tail string) int64 {
	return int64(tail[0]-'0')*100 + int64(tail[1]-'0')*10 + int64(tail[2]-'0')
}

// newRests makes what follows the positions in the entries of n resources that
// have lease and owner in common: one, since a nonce tells the claims of one
// resource apart; or a few, for the Lua of Redis before 7.0, which looks at every
// third or fourth character of an entry only, when it puts strings into its table,
// and would have all of these in one place.
func newRests(n int, lease, owner string) []string {
	few := 1
	if n > 64 {
		few = 17
	}
	buffer, ends := make([]byte, 0, few*(tailHead-3+len(owner))), make([]int, few)
	for i := range ends {
		buffer = append(append(appendNonce(buffer), lease...), owner...)
		ends[i] = len(buffer)
	}
	return split(string(buffer), ends)
}

// nonceIn, leaseIn and ownerIn read what follows the position in a tail.
func nonceIn(rest string) string { return rest[:11] }
func leaseIn(rest string) time.Duration {
	ms, _ := parseDigits(rest[11 : tailHead-3])
	return duration(ms)
}
func ownerIn(rest string) string { return rest[tailHead-3:] }

// tailOf writes a tail and returns its nonce, too.
func tailOf(position int, lease, owner string) (tail, nonce string) {
	tail = string(appendTail(make([]byte, 0, tailHead+len(owner)), position, lease, owner))
	return tail, tail[3:14]
}

// fenceText writes a fence as it stands in an entry.
func fenceText(fence int64) string { return digits(fence, 19) }

// A place is where a waiter queues: at a resource, for it or for a run of a job.
func plainPlace(resource string) string { return string(appendPlace(nil, resource, 'p', "")) }
func jobPlace(id JobID) string          { return string(appendPlace(nil, id.Key, 'j', id.Run)) }

func appendPlace(b []byte, resource string, kind byte, run string) []byte {
	b = slices.Grow(b, placeHead+len(resource)+len(run))
	b = append(appendLength(b, len(resource)), resource...)
	b = append(b, kind)
	return append(appendLength(b, len(run)), run...)
}

// placeHead is how long a place is without its names: two lengths and the kind.
const placeHead = 4 + 1 + 4

// appendLength writes a name's length in four hexadecimal digits.
func appendLength(b []byte, n int) []byte {
	const hex = "0123456789abcdef"
	return append(b, hex[n>>12&15], hex[n>>8&15], hex[n>>4&15], hex[n&15])
}

// parsePlace is the reverse of jobPlace.
func parsePlace(place string) (JobID, bool) {
	key, rest, ok := cutName(place)
	if !ok || rest == "" || rest[0] != 'j' {
		return JobID{}, false
	}
	run, rest, ok := cutName(rest[1:])
	return JobID{Key: key, Run: run}, ok && rest == ""
}

func cutName(s string) (name, rest string, ok bool) {
	if len(s) < 4 {
		return "", "", false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	if err != nil || len(s) < 4+int(n) {
		return "", "", false
	}
	return s[4 : 4+n], s[4+n:], true
}
