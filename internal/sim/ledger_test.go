package sim

import (
	"slices"
	"strconv"
	"strings"
)

// A ledger follows what scripts write, and judges each write by what stood there
// before: G1, G3, G4, G5 and G8, in the server's own time and order. lock/head.lua
// tells the shapes.
type ledger struct {
	w       *world
	locks   map[string]*entry
	jobs    map[string]*record
	running map[string]*record  // by the fence of its newest grant
	highest map[string]string   // fence of each resource, ever
	tenures map[tenure]int64    // until when each grant lasts or lasted, ms
	done    map[string][]int64  // fences of all dones of a place, ever
	over    map[string]bool     // places that were exhausted, ever
	queue   map[string][]string // who waits for a resource: members
	waiters map[string]*process // by the id under which they wait
	data    int                 // how often all was lost
	grants  int
}

type tenure struct {
	resource string
	fence    int64
}

// An entry is a lock, or, without a fence, an offer.
type entry struct {
	fence, nonce, owner string
	expiry, lease       int64 // ms
}

// A record is what is known of a run.
type record struct {
	state            byte
	attempts, max    int64
	retention, lease int64
	fence, nonce     string // of the newest grant
	how              string // it ended
	notBefore        int64

	touched int64             // ms: when it was written, or its lock renewed
	counted int64             // attempts, by the ledger's own count
	claims  map[string]string // fences that were granted, by nonce
}

const never = 99999999999999

func newLedger(w *world) *ledger {
	l := &ledger{w: w, highest: map[string]string{}, tenures: map[tenure]int64{}, done: map[string][]int64{}, over: map[string]bool{}, waiters: map[string]*process{}}
	l.lose()
	l.data = 0
	return l
}

// lose is for data that is lost: then only fences are still promised.
func (l *ledger) lose() {
	l.locks, l.jobs, l.running = map[string]*entry{}, map[string]*record{}, map[string]*record{}
	l.queue = map[string][]string{}
	l.data++
}

func (e *entry) live(now int64) bool { return e != nil && e.fence != "" && e.expiry > now }

// names tells whether a call says the fence, or the nonce, of what it changes. Of
// a group the calls' common part of the fences stands for all.
func (e *execution) names(x *entry) bool {
	for _, a := range e.args {
		if strings.Contains(a, x.fence[:16]) || strings.Contains(a, x.nonce) {
			return true
		}
	}
	return false
}

func (e *execution) by(scripts ...string) bool { return slices.Contains(scripts, e.script) }

func (e *execution) now() int64 { return e.at / 1000 }

// set is called for every field that is written.
func (l *ledger) set(e *execution, key, field, value string) {
	switch {
	case strings.HasSuffix(key, ":locks"):
		l.setLock(e, field, value)
	case strings.HasSuffix(key, ":jobs"):
		l.setJob(e, field, value)
	}
}

func (l *ledger) setLock(e *execution, resource, value string) {
	now, old := e.now(), l.locks[resource]
	x := parseEntry(value)
	switch {
	case x == nil:
		l.w.violate("shape", "%q: lock %q", resource, value)
		return
	case x.fence == "": // an offer
		l.released(e, resource, old)
	case old != nil && old.fence == x.fence:
		switch {
		case !old.live(now):
			l.w.violate("G5", "%q: fence %s had run out at %d, and was renewed", resource, x.fence, old.expiry)
		case !e.by("extend", "renew") || !e.names(x):
			l.w.violate("G5", "%q: fence %s was renewed by %s, which does not name it", resource, x.fence, e.script)
		case x.expiry < old.expiry:
			l.w.violate("G5", "%q: the lease of fence %s was shortened", resource, x.fence)
		}
		if j := l.running[x.fence]; j != nil {
			j.touched = now
		}
	default:
		l.granted(e, resource, old, x)
	}
	if x.fence != "" {
		l.tenures[tenure{resource, number(x.fence)}] = x.expiry
	}
	l.locks[resource] = x
}

// granted judges a grant.
func (l *ledger) granted(e *execution, resource string, old, x *entry) {
	now := e.now()
	l.grants++
	if old.live(now) {
		l.w.violate("G1", "%q: fence %s was granted while fence %s lasts for %d ms", resource, x.fence, old.fence, old.expiry-now)
	}
	if x.fence <= l.highest[resource] {
		l.w.violate("G3", "%q: fence %s was granted after %s", resource, x.fence, l.highest[resource])
	}
	if !e.by("claim", "lock") {
		l.w.violate("G1", "%q: granted by %s", resource, e.script)
	}
	if x.expiry != now+x.lease {
		l.w.violate("G1", "%q: granted until %d at %d, for a lease of %d", resource, x.expiry, now, x.lease)
	}
	l.highest[resource] = x.fence
}

// released judges that a lock goes.
func (l *ledger) released(e *execution, resource string, old *entry) {
	if !old.live(e.now()) {
		return
	}
	if !e.by("unlock", "settle", "leave") || !e.names(old) {
		l.w.violate("G5", "%q: fence %s was released by %s, which does not name it", resource, old.fence, e.script)
	}
}

func (l *ledger) setJob(e *execution, place, value string) {
	now, old := e.now(), l.jobs[place]
	x := parseRecord(value)
	if x == nil {
		l.w.violate("shape", "%q: record %q", place, value)
		return
	}
	x.touched = now
	if old != nil {
		x.counted, x.claims = old.counted, old.claims
	}
	if x.fence != "" && (old == nil || old.fence != x.fence) {
		if old != nil && old.forgettable(now) && x.attempts == 1 {
			old = nil
		}
		l.counted(e, place, old, x)
	} else if old != nil {
		l.ended(e, place, old, x)
	}
	if before := l.jobs[place]; before != nil {
		delete(l.running, before.fence)
	}
	l.jobs[place], l.running[x.fence] = x, x
}

// counted judges an attempt that is granted.
func (l *ledger) counted(e *execution, place string, old, x *record) {
	if old == nil {
		x.counted, x.claims = 0, map[string]string{}
	}
	x.counted++
	if f, used := x.claims[x.nonce]; used {
		l.w.violate("G8", "%q: fences %s and %s were granted to one claim", place, f, x.fence)
	}
	x.claims[x.nonce] = x.fence
	if x.counted != x.attempts {
		l.w.violate("G8", "%q: this is attempt %d, counted as %d", place, x.counted, x.attempts)
	}
	if x.counted > x.max {
		l.w.violate("G8", "%q: attempt %d of %d was granted", place, x.counted, x.max)
	}
	if old != nil && (old.state == 'd' || old.state == 'p') {
		l.w.violate("G4", "%q: granted to fence %s, though it had ended as %c with fence %s", place, x.fence, old.state, old.fence)
	}
	if held := l.locks[resourceOf(place)]; e.by("claim") && held != nil && held.live(e.now()) && held.fence != x.fence {
		l.w.violate("G1", "%q: attempt with fence %s beside the lock of %s", place, x.fence, held.fence)
	}
}

// ended judges what else is written to a record.
func (l *ledger) ended(e *execution, place string, old, x *record) {
	if old.how == "-" && x.how != "-" && x.how != "l" || old.state == 'r' && strings.ContainsRune("dp", rune(x.state)) {
		held := l.locks[resourceOf(place)]
		switch {
		case held == nil || held.fence != x.fence || !held.live(e.now()):
			l.w.violate("G5", "%q: fence %s was settled as %s by %s, and does not hold the lock", place, x.fence, x.how, e.script)
		case !e.by("settle", "leave") || !e.names(held):
			l.w.violate("G5", "%q: fence %s was settled by %s, which does not name it", place, x.fence, e.script)
		}
		if x.how == "r" {
			x.counted--
		}
	} else if old.how != "-" && old.how != x.how {
		l.w.violate("G5", "%q: fence %s had ended as %s, and is changed to %s", place, x.fence, old.how, x.how)
	}
	if old.state == 'd' && x.state != 'd' {
		l.w.violate("G4", "%q: was done by fence %s, and is not any more", place, old.fence)
	}
	if x.counted != x.attempts {
		l.w.violate("G8", "%q: %d attempts count, and the record says %d", place, x.counted, x.attempts)
	}
	switch {
	case x.state == 'd' && old.state != 'd':
		l.done[place] = append(l.done[place], number(x.fence))
	case x.state == 'x' || x.state == 'p':
		l.over[place] = true
	}
}

// forgettable tells whether what is promised to be remembered is over.
func (r *record) forgettable(now int64) bool {
	return r.retention != never && now >= r.touched+max(r.retention, r.lease)+r.lease
}

// remove is called for every field that is removed.
func (l *ledger) remove(e *execution, key, field string) {
	switch {
	case strings.HasSuffix(key, ":locks"):
		l.released(e, field, l.locks[field])
		delete(l.locks, field)
	case strings.HasSuffix(key, ":jobs"):
		if j := l.jobs[field]; j != nil && !e.by("reset") && !j.forgettable(e.now()) {
			l.w.violate("retention", "%q: forgotten by %s %d ms after it was touched; retention %d, lease %d", field, e.script, e.now()-j.touched, j.retention, j.lease)
		}
		if j := l.jobs[field]; j != nil {
			delete(l.running, j.fence)
		}
		delete(l.jobs, field)
	}
}

// enqueued and dequeued follow who waits.
func (l *ledger) enqueued(key, member string) {
	if r := waitedFor(key, member); r != "" && !slices.Contains(l.queue[r], member) {
		l.queue[r] = append(l.queue[r], member)
	}
}

func (l *ledger) dequeued(key, member string) {
	if r := waitedFor(key, member); r != "" {
		l.queue[r] = slices.DeleteFunc(l.queue[r], func(m string) bool { return m == member })
	}
}

func waitedFor(key, member string) string {
	if !strings.HasSuffix(key, ":queue") || !strings.HasPrefix(member, "f") || len(member) < 32 {
		return ""
	}
	return resourceOf(member[1:])
}

// resourceOf returns the resource of a place.
func resourceOf(place string) string {
	n, err := strconv.ParseUint(place[:4], 16, 16)
	if err != nil || len(place) < 4+int(n) {
		return ""
	}
	return place[4 : 4+n]
}

func jobPrefix(resource string) string {
	return hex4(len(resource)) + resource + "j"
}

func placeOf(key, run string) string { return jobPrefix(key) + hex4(len(run)) + run }

func hex4(n int) string {
	s := strconv.FormatInt(int64(n), 16)
	return "0000"[:4-len(s)] + s
}

func parseEntry(v string) *entry {
	switch {
	case len(v) > 43 && v[0] == 'O':
		return &entry{expiry: number(v[1:15])}
	case len(v) > 59 && (v[0] == 'L' || v[0] == 'G'):
		return &entry{expiry: number(v[1:15]), fence: v[15:34], nonce: v[34:45], lease: number(v[45:59]), owner: v[59:]}
	}
	return nil
}

func parseRecord(v string) *record {
	f := strings.SplitN(v, " ", 13)
	if len(f) < 5 || len(f[0]) != 16 || f[0][0] != 'J' {
		return nil
	}
	r := &record{state: f[0][1], notBefore: number(f[0][2:]), attempts: number(f[1]), max: number(f[2]), retention: number(f[3]), lease: number(f[4])}
	if len(f) == 13 {
		r.fence, r.nonce, r.how = f[6], f[7], f[10]
	}
	return r
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
