package torture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A report is what -report writes: wholly made by the program, anew after each test.
var report struct {
	mu       sync.Mutex
	redis    string // what served
	torture  string // sections, in their order
	variants string
	kills    string
}

// saw notes what serves.
func saw(client *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return
	}
	report.mu.Lock()
	defer report.mu.Unlock()
	for line := range strings.Lines(info) {
		if version, is := strings.CutPrefix(line, "redis_version:"); is {
			report.redis = "Redis " + strings.TrimSpace(version)
		}
	}
}

// publish prints a section, puts it into the report, and writes that.
func publish(t *testing.T, section *string, text string) {
	t.Helper()
	fmt.Println("\n" + text)
	report.mu.Lock()
	defer report.mu.Unlock()
	*section = text
	if *reportFlag == "" {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Torture\n\n<!-- Written by internal/torture (make torture); not by hand. -->\n\n")
	fmt.Fprintf(&b, "What came of %s with %d cores, %s/%s, %s, on %s%s. Repeat it with\n\n```sh\nmake torture DURATION=%v SEED=%d\n```\n\n",
		runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, report.redis, time.Now().UTC().Format("2 January 2006"), commit(), *durationFlag, seed())
	b.WriteString("A seed decides what is done to whom and which work fails, not how the machine schedules its processes: so another run has other numbers.\n")
	for _, s := range []string{report.torture, report.variants, report.kills} {
		if s != "" {
			b.WriteString("\n" + s)
		}
	}
	if err := os.WriteFile(*reportFlag, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a page of documentation
		t.Error(err)
	}
}

// commit is the commit that was tested, if that is known.
func commit() string {
	id, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return ""
	}
	changed := ""
	if out, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(out) > 0 {
		changed = " with changes"
	}
	return ", commit " + strings.TrimSpace(string(id)) + changed
}

var seed = sync.OnceValue(func() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return uint64(time.Now().UnixNano()) % 1_000_000_000
})

// A row is what came of a fault.
type row struct {
	fault   fault
	rounds  int
	verdict verdict
}

// promised are the promises, in their order.
var promised = []string{"G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10"}

func (r *row) checked() string {
	var ps []string
	for _, p := range promised {
		if r.verdict.judged[p] > 0 {
			ps = append(ps, p)
		}
	}
	return strings.Join(ps, " ")
}

const tortureText = `## Faults

In %v: processes work on the same jobs and locks while a fault befalls them, their connections or their Redis. *Checked* are the
promises of [design.md](design.md#promises) that could have been found broken: the second table tells how often. *Takeovers* are
grants after one that nobody ended. An outcome is *unknown* when the caller's context ended before its answer came: both
must be possible afterwards. A *stale write* is one that the ledger refused for its fence: work that went on after
its lease, as that of a paused process does. *Bundles* are script calls for several callers, in parentheses those whose reply was
lost. *Stall* is the longest time for which the machine ran nothing of ours, by which all bounds are longer. *Done twice* is
possible only where Redis loses what it acknowledged.

| fault | rounds | operations | grants | killed | takeovers | done twice | unknown outcomes | stale writes | bundles | stall | violations | checked |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |
`

func tortureSection(rows []row, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, tortureText, took.Round(time.Second))
	sum := row{fault: fault{name: "**all**"}}
	for i := range rows {
		sum.rounds += rows[i].rounds
		sum.verdict.add(&rows[i].verdict)
	}
	for _, r := range append(slices.Clone(rows), sum) {
		v, bundles := r.verdict, "-" // behind Sentinel and on Cluster nobody sees them
		if r.fault.kind != "sentinel" && r.fault.kind != "cluster" {
			bundles = fmt.Sprintf("%d (%d)", v.bundles, v.lostBundles)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %s | %v | %d | %s |\n", r.fault.name, r.rounds, v.operations, v.grants,
			v.killed, v.takeovers, v.doubled, v.unknown, v.stale, bundles, v.stall.Round(time.Millisecond), len(v.violations), r.checked())
	}
	b.WriteString("\nHow often each promise could have been found broken:\n\n| fault |")
	for _, p := range promised {
		b.WriteString(" " + p + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --: |", len(promised)) + "\n")
	for _, r := range append(slices.Clone(rows), sum) {
		b.WriteString("| " + r.fault.name + " |")
		for _, p := range promised {
			fmt.Fprintf(&b, " %d |", r.verdict.judged[p])
		}
		b.WriteString("\n")
	}
	return b.String()
}
