package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Severity tells how much a Finding matters.
type Severity uint8

// The severities, the least first.
const (
	SeverityInfo    Severity = iota + 1 // good to know, or could not be found out
	SeverityWarning                     // a promise holds only as long as nothing bad happens
	SeverityProblem                     // a promise is broken, or calls will fail
)

var severities = [...]string{"", "info", "warning", "problem"}

// String returns info, warning or problem.
func (s Severity) String() string {
	if s > 0 && int(s) < len(severities) {
		return severities[s]
	}
	return fmt.Sprintf("Severity(%d)", uint8(s))
}

// MarshalText writes the severity as String does.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severities[1:], string(text))
	if i < 0 {
		return invalid("severity %q", text)
	}
	*s = Severity(i + 1)
	return nil
}

// A Finding is one thing that Check has found.
type Finding struct {
	Severity Severity
	Code     string // names the kind of finding; stays the same from version to version
	Node     string // host:port of the master, on Cluster, or "every master"; "" where there is only one, and for the keys
	Found    string // what was found
	Do       string // what to do about it; "" where there is nothing to do
}

// String returns the finding in one line, or two if there is something to do.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s  %s: ", f.Severity, f.Code)
	if f.Node != "" {
		fmt.Fprintf(&b, "%s: ", f.Node)
	}
	b.WriteString(f.Found)
	if f.Do != "" {
		b.WriteString("\n         → " + f.Do)
	}
	return b.String()
}

// A Report is what Check has found, the worst first. It never contains passwords.
type Report struct {
	Findings []Finding
}

// Worst returns the highest severity found, 0 if there are no findings.
func (r Report) Worst() Severity {
	var worst Severity
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// String returns a line or two for each finding, and a last one that counts them.
func (r Report) String() string {
	var b strings.Builder
	var count [len(severities)]int
	for _, f := range r.Findings {
		b.WriteString(f.String() + "\n")
		if int(f.Severity) < len(count) {
			count[f.Severity]++
		}
	}
	fmt.Fprintf(&b, "problems: %d, warnings: %d, infos: %d\n", count[SeverityProblem], count[SeverityWarning], count[SeverityInfo])
	return b.String()
}

// Check looks at a Redis, as a Locker with this client and configuration would
// use it, and reports what endangers the promises of this package or will make
// calls fail: version, eviction, persistence, replicas, the rights of the
// client's user, clocks, the state of a Cluster, and what stands under the
// namespace's keys. It changes nothing. To try the rights it sends commands that
// do nothing, and publishes messages that everybody ignores.
//
// What the user may not read (a managed service refuses CONFIG, a user with the
// least rights INFO as well) is a Finding, not an error. So rights are checked
// best with the program's own user, and the server with an administrator.
//
// The error says that an argument is wrong, that no server could be asked
// (ErrUnavailable, unless it will not mend), or that ctx has ended; the Report
// has then what was found so far. A Check without a deadline is given up after
// 30 s. It returns with ctx; with a Redis that hangs, its last command ends by
// the client's own timeouts.
func Check(ctx context.Context, rdb redis.UniversalClient, cfg Config) (Report, error) {
	if ctx == nil {
		return Report{}, invalid("context is nil")
	}
	cfg, err := cfg.complete(rdb)
	if err := errors.Join(checkClient(rdb), err); err != nil {
		return Report{}, err
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, giveUp, fmt.Errorf("%w: no answer within %v", ErrUnavailable, giveUp))
	defer cancel()
	d := newDoctor(rdb, cfg)
	done := make(chan error, 1)
	go func() { done <- d.examine(ctx) }()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return d.report(), err
}

// A doctor makes one Check.
type doctor struct {
	cfg  Config // complete
	rdb  redis.UniversalClient
	keys [][6]string // of each shard

	mu       sync.Mutex
	findings []Finding
	clocks   []clock
	masters  int
}

func newDoctor(rdb redis.UniversalClient, cfg Config) *doctor {
	d := &doctor{cfg: cfg, rdb: rdb, keys: make([][6]string, cfg.Shards)}
	shards := newShards(cfg.Namespace, cfg.Shards)
	for i := range shards {
		d.keys[i] = shards[i].keys
	}
	return d
}

// A patient is one server that is asked.
type patient struct {
	name   string // for findings
	client redis.UniversalClient
}

func (d *doctor) note(f Finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.findings, f) {
		d.findings = append(d.findings, f)
	}
}

// isNoted tells whether there is a finding of that kind.
func (d *doctor) isNoted(code string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.findings, func(f Finding) bool { return f.Code == code })
}

// unreadable notes what could not be found out.
func (d *doctor) unreadable(p patient, what, do string) {
	d.note(Finding{SeverityInfo, "unreadable", p.name, what + " could not be read", do})
}

func (d *doctor) report() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	findings := merged(d.findings, d.masters)
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Node, b.Node))
	})
	return Report{findings}
}

// merged makes one of findings that are the same at every master.
func merged(findings []Finding, masters int) []Finding {
	count := make(map[Finding]int)
	anywhere := func(f Finding) Finding { f.Node = "every master"; return f }
	for _, f := range findings {
		count[anywhere(f)]++
	}
	var short []Finding
	for _, f := range findings {
		if all := anywhere(f); f.Node != "" && count[all] == masters {
			f = all
		}
		if !slices.Contains(short, f) {
			short = append(short, f)
		}
	}
	return short
}

// examine asks every master by itself, and then all of them together.
func (d *doctor) examine(ctx context.Context) error {
	patients, err := d.patients(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.masters = len(patients)
	d.mu.Unlock()
	silent := make([]error, len(patients))
	var all sync.WaitGroup
	for i, p := range patients {
		all.Go(func() { silent[i] = d.visit(ctx, p) })
	}
	all.Wait()
	if !slices.Contains(silent, nil) {
		return errors.Join(silent...)
	}
	d.compareClocks()
	d.checkKeys(ctx)
	return nil
}

// patients returns the masters.
func (d *doctor) patients(ctx context.Context) ([]patient, error) {
	cluster, ok := d.rdb.(*redis.ClusterClient)
	if !ok {
		return []patient{{client: d.rdb}}, nil
	}
	var mu sync.Mutex
	var found []patient
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, patient{node.Options().Addr, node})
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errors.New("the cluster has no masters")
	}
	if err != nil {
		return nil, unavailable(err)
	}
	slices.SortFunc(found, func(a, b patient) int { return cmp.Compare(a.name, b.name) })
	return found, nil
}

// visit examines one server. The error says that it does not answer.
func (d *doctor) visit(ctx context.Context, p patient) error {
	if err := p.client.Ping(ctx).Err(); err != nil && !isDenial(err) {
		if p.name != "" {
			d.note(Finding{SeverityProblem, "node-unreachable", p.name, fmt.Sprintf("this master does not serve: %v", err),
				"start it, or promote its replica; until then calls for its shards wait"})
		}
		return unavailable(err)
	}
	d.checkRights(ctx, p)
	d.checkClock(ctx, p)
	d.checkServer(ctx, p)
	return nil
}

// unavailable wraps the error of a server that cannot be asked, if it may mend.
func unavailable(err error) error {
	var answer redis.Error
	if errors.As(err, &answer) && (isDenial(err) || strings.HasPrefix(answer.Error(), "WRONGPASS") || strings.HasPrefix(answer.Error(), "NOAUTH")) {
		return fmt.Errorf("lock: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// A clock is how far a server's clock is ahead of this process's.
type clock struct {
	node         string
	ahead, about time.Duration // and how exactly that is known
}

const (
	clockSamples = 3
	clientDrift  = time.Second            // more than that between server and client is odd
	serverDrift  = 500 * time.Millisecond // more than that between masters matters to leases
)

func (d *doctor) checkClock(ctx context.Context, p patient) {
	best := clock{node: p.name, about: -1}
	for range clockSamples {
		sent := time.Now()
		at, err := p.client.Time(ctx).Result()
		took := time.Since(sent)
		if err != nil {
			break // TIME is among the rights
		}
		if best.about < 0 || took/2 < best.about {
			best.ahead, best.about = at.Sub(sent.Add(took/2)), took/2
		}
	}
	if best.about < 0 {
		return
	}
	d.mu.Lock()
	d.clocks = append(d.clocks, best)
	d.mu.Unlock()
	f := Finding{SeverityInfo, "clock", p.name, fmt.Sprintf("the server's clock is %v ahead of this process's, ± %v",
		best.ahead.Round(time.Millisecond), max(best.about, time.Millisecond).Round(time.Millisecond)), ""}
	if best.ahead.Abs()-best.about > clientDrift {
		f.Severity = SeverityWarning
		f.Do = "let both follow NTP. Locks go by the server's clock alone, but its jumps lengthen or shorten leases, and times in records and events are its own"
	}
	d.note(f)
}

// compareClocks compares the masters with each other.
func (d *doctor) compareClocks() {
	if len(d.clocks) < 2 {
		return
	}
	byAhead := func(a, b clock) int { return cmp.Compare(a.ahead, b.ahead) }
	low, high := slices.MinFunc(d.clocks, byAhead), slices.MaxFunc(d.clocks, byAhead)
	if apart := high.ahead - low.ahead; apart-low.about-high.about > serverDrift {
		d.note(Finding{SeverityWarning, "clock-nodes", "", fmt.Sprintf("the clocks of %s and %s are %v apart", low.node, high.node, apart.Round(time.Millisecond)),
			"let all nodes follow NTP: a shard that moves between them has its leases changed by the difference, and a fence may come too small"})
	}
}
