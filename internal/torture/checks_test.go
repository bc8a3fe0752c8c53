package torture

import (
	"slices"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/lock"
)

const ms = 1000 // µs

// did is an operation on one run of one job, by a process of its own.
func did(process int, from, to int64, call, answer step) *life {
	call.At, call.Key, call.Run, call.Deadline, answer.At = from*ms, "key", "run", to*ms, to*ms
	o := &operation{process: process, step: call, returned: to * ms, answer: answer}
	return &life{process: process, operations: []*operation{o}, lost: map[int64]int64{}}
}

func acquires(process int, from, to, fence int64, number int) *life {
	return did(process, from, to, step{Op: "acquire"}, step{Result: granted, Fence: fence, Number: number})
}

func settles(process int, from, to, fence int64, end, result string) *life {
	return did(process, from, to, step{Op: "settle", Fence: fence, End: end}, step{Result: result})
}

func isTold(process int, from, to int64, result string, number int) *life {
	return did(process, from, to, step{Op: "acquire"}, step{Result: result, Number: number})
}

func TestHistoriesAreJudged(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lives []*life
		bad   bool
	}{
		{"granted, done, told", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", settled), isTold(2, 0, 4, done, 0)}, false},
		{"a lease that ran out", []*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), settles(1, 4, 5, 10, "done", lost)}, false},
		{"given back, and its number granted again", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "returned", settled), acquires(2, 4, 5, 20, 1)}, false},
		{"an unknown outcome that happened", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", unknown), isTold(2, 9, 10, done, 0)}, false},
		{"an unknown outcome that did not happen", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", unknown), acquires(2, 9, 10, 20, 2)}, false},
		{"one that happened and is asked for again", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", unknown), settles(1, 9, 10, 10, "done", settled)}, false},
		{"the last attempt failed", []*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), settles(2, 4, 5, 20, "failed", settled), isTold(1, 6, 7, exhausted, 2)}, false},

		{"the fence of another", []*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), settles(1, 4, 5, 10, "done", settled)}, true},
		{"done twice", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", settled), acquires(2, 4, 5, 20, 2)}, true},
		{"done by nobody", []*life{acquires(1, 0, 1, 10, 1), isTold(2, 2, 3, done, 0)}, true},
		{"an attempt counted twice", []*life{acquires(1, 0, 1, 10, 2)}, true},
		{"an attempt not counted", []*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 1)}, true},
		{"more attempts than allowed", []*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), acquires(1, 4, 5, 30, 3)}, true},
		{"exhausted too soon", []*life{acquires(1, 0, 1, 10, 1), isTold(2, 2, 3, exhausted, 1)}, true},
		{"a smaller fence", []*life{acquires(1, 0, 1, 20, 1), acquires(2, 2, 3, 10, 2)}, true},
		{"lost, though it was settled", []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", settled), settles(1, 4, 5, 10, "done", lost)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			checkHistory(tt.lives, nil, 2, v)
			if bad := len(v.violations) > 0; bad != tt.bad {
				t.Errorf("violations: %v, want %t", v.violations, tt.bad)
			}
		})
	}
}

// joined is what one process did.
func joined(l *life, more ...*life) *life {
	for _, m := range more {
		l.operations = append(l.operations, m.operations...)
	}
	return l
}

func grants(at, until, fence int64, nonce string) write {
	return write{at: at * ms, kind: 'L', fence: fence, nonce: nonce, expiry: until * ms, lease: (until - at) * ms}
}

func TestTenuresAreJudged(t *testing.T) {
	removed := func(at int64) write { return write{at: at * ms, kind: '-'} }
	for _, tt := range []struct {
		name   string
		writes []write
		want   string
	}{
		{"one after another", []write{grants(0, 10, 1, "a"), removed(5), grants(5, 15, 2, "b"), grants(15, 25, 3, "c")}, ""},
		{"renewed", []write{grants(0, 10, 1, "a"), grants(9, 19, 1, "a"), grants(20, 30, 2, "b")}, ""},
		{"two at once", []write{grants(0, 10, 1, "a"), grants(9, 19, 2, "b")}, "G1"},
		{"two at once, after a renewal", []write{grants(0, 10, 1, "a"), grants(9, 19, 1, "a"), grants(12, 22, 2, "b")}, "G1"},
		{"a fence that does not grow", []write{grants(0, 10, 5, "a"), grants(10, 20, 4, "b")}, "G3"},
		{"a lease revived", []write{grants(0, 10, 1, "a"), grants(11, 21, 1, "a")}, "G5"},
		{"two grants for one claim", []write{grants(0, 10, 1, "a"), grants(10, 20, 2, "a")}, "G8"},
		{"what is not known", []write{{at: ms, kind: 'L'}}, "monitor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			checkIntervals(&monitor{writes: map[string][]write{"key": tt.writes}, breaks: []int64{0}}, true, v)
			wantViolation(t, v, tt.want)
		})
	}
}

func TestTimesAreJudged(t *testing.T) {
	held := map[string][]tenure{"key": {{fence: 10, from: 0, to: 1000 * ms}}}
	atWork := func(until int64) []*life { return []*life{settles(1, until, until+1, 10, "done", lost)} }
	cancelled := atWork(5000)
	cancelled[0].lost[10] = 990 * ms
	paused := atWork(5000)
	paused[0].gaps = []span{{100 * ms, 4900 * ms}}
	waits := []*life{isTold(1, 500, 9000, refused, 0)}
	for _, tt := range []struct {
		name  string
		check func(v *verdict)
		want  string
	}{
		{"work that ends with its lease", func(v *verdict) { checkLoss(cancelled, held, v) }, ""},
		{"work that did not run meanwhile", func(v *verdict) { checkLoss(paused, held, v) }, ""},
		{"work that goes on", func(v *verdict) { checkLoss(atWork(5000), held, v) }, "G2"},
		{"a call that returns", func(v *verdict) { checkReturns(atWork(100), v) }, ""},
		{"a call that returns late", func(v *verdict) {
			ls := atWork(100)
			ls[0].operations[0].Deadline = -1000 * ms
			checkReturns(ls, v)
		}, "G10"},
		{"a lock that stands free", func(v *verdict) { checkIdle(waits, 2, held, fault{}, nil, 9000*ms, v) }, "G6 G7"},
		{"while Redis is away", func(v *verdict) { checkIdle(waits, 2, held, fault{}, []span{{0, 2000 * ms}}, 9000*ms, v) }, ""},
		{"while nobody waits", func(v *verdict) { checkIdle(atWork(1), 2, held, fault{}, nil, 9000*ms, v) }, ""},
		{"one at work after another", func(v *verdict) {
			checkUses([]*life{joined(acquires(1, 0, 1, 10, 1), settles(1, 20, 30, 10, "done", settled)), joined(acquires(2, 0, 25, 20, 2), settles(2, 40, 50, 20, "done", settled))}, v)
		}, ""},
		{"two at work", func(v *verdict) {
			checkUses([]*life{joined(acquires(1, 0, 1, 10, 1), settles(1, 900, 910, 10, "done", settled)), joined(acquires(2, 0, 15, 20, 2), settles(2, 40, 50, 20, "done", settled))}, v)
		}, "G1"},
		{"a fence of two processes", func(v *verdict) {
			checkLedger([]entry{{Process: 1, Key: "key", Fence: 10}, {Process: 2, Key: "key", Fence: 10}}, v)
		}, "G3"},
		{"a stale settlement", func(v *verdict) {
			checkStale([]*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), settles(1, 4, 5, 10, "done", settled)}, nil, v)
		}, "G5"},
		{"one whose successor was lost", func(v *verdict) {
			checkStale([]*life{acquires(1, 0, 1, 10, 1), acquires(2, 2, 3, 20, 2), settles(1, 4, 5, 10, "done", settled)}, []int64{4 * ms}, v)
		}, ""},
		{"a fence that was there before", func(v *verdict) {
			checkFences([]*life{acquires(1, 0, 1, 20, 1), acquires(2, 2, 3, 10, 2)}, v)
		}, "G3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			tt.check(v)
			wantViolation(t, v, tt.want)
		})
	}
}

func TestCountersAreJudged(t *testing.T) {
	record := func(counted int, fences ...int64) []final {
		job := lock.JobInfo{ID: lock.JobID{Key: "key"}, Attempt: counted}
		for _, fence := range fences {
			job.Attempts = append(job.Attempts, lock.AttemptInfo{Fence: fence})
		}
		return []final{{job: job}}
	}
	all := map[string][]tenure{"key": {{fence: 10}, {fence: 20}}}
	for _, tt := range []struct {
		name    string
		records []final
		want    string
	}{
		{"all are counted", record(2, 10, 20), ""},
		{"one more is counted", record(3, 10, 20), "G8"},
		{"one was granted to nobody", record(3, 10, 20, 30), "G8"},
		{"one is not counted", record(1, 10), "G8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			checkCounters(tt.records, all, v)
			wantViolation(t, v, tt.want)
		})
	}
}

func wantViolation(t *testing.T, v *verdict, want string) {
	t.Helper()
	found := slices.ContainsFunc(v.violations, func(x violation) bool { return strings.Contains(x.check, want) })
	if want == "" && len(v.violations) > 0 || want != "" && !found {
		t.Errorf("violations: %v, want %q", v.violations, want)
	}
}

func TestLocksAreJudged(t *testing.T) {
	locks := func(process int, from, to, fence int64) *life {
		return did(process, from, to, step{Op: "lock", Loose: true}, step{Result: granted, Fence: fence, Owner: ownerName(process)})
	}
	isHeld := func(process int, from, to, fence int64, owner int) *life {
		return did(process, from, to, step{Op: "lock", Loose: true}, step{Result: held, Fence: fence, Owner: ownerName(owner)})
	}
	does := func(op string, process int, from, to, fence int64, result string) *life {
		return did(process, from, to, step{Op: op, Fence: fence, Loose: true}, step{Result: result})
	}
	looks := func(process int, from, to, fence int64) *life {
		return did(process, from, to, step{Op: "owner", Loose: true}, step{Result: told, Fence: fence, Owner: ownerName(1)})
	}
	for _, tt := range []struct {
		name  string
		lives []*life
		bad   bool
	}{
		{"locked, refused, unlocked, locked", []*life{locks(1, 0, 1, 10), isHeld(2, 2, 3, 10, 1), does("unlock", 1, 4, 5, 10, released), locks(2, 6, 7, 20)}, false},
		{"run out", []*life{locks(1, 0, 1, 10), looks(2, 2, 3, 0), does("extend", 1, 4, 5, 10, lost)}, false},
		{"unlocked twice, for the first reply was lost", []*life{locks(1, 0, 1, 10), locks(2, 2, 3, 20), does("unlock", 1, 2, 5, 10, released)}, false},
		{"granted without an answer", []*life{does("lock", 1, 0, 1, 0, unknown), isHeld(2, 2, 3, 500_000, 1)}, false},
		{"granted, and run out before it was told otherwise", []*life{does("lock", 1, 0, 700, 0, refused), isHeld(2, 2, 3, 500_000, 1)}, false},

		{"a smaller fence", []*life{locks(1, 0, 1, 20), locks(2, 2, 3, 10)}, true},
		{"held, though it was unlocked", []*life{locks(1, 0, 1, 10), does("unlock", 1, 2, 3, 10, released), isHeld(2, 4, 5, 10, 1)}, true},
		{"extended, though it was unlocked", []*life{locks(1, 0, 1, 10), does("unlock", 1, 2, 3, 10, released), does("extend", 1, 4, 5, 10, kept)}, true},
		{"extended, though it is another's", []*life{locks(1, 0, 1, 10), locks(2, 2, 3, 20), does("extend", 1, 4, 5, 10, kept)}, true},
		{"it came back", []*life{locks(1, 0, 1, 10), looks(2, 2, 3, 0), looks(2, 4, 5, 10)}, true},
		{"granted though Redis refused it", []*life{does("lock", 1, 0, 1, 0, denied), isHeld(2, 2, 3, 500_000, 1)}, true},
		{"granted before it was asked for", []*life{does("lock", 1, 900, 901, 0, unknown), isHeld(2, 902, 903, 500_000, 1)}, true},
		{"granted to nobody", []*life{isHeld(2, 2, 3, 10, 1)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			checkLocks(tt.lives, true, v)
			if bad := len(v.violations) > 0; bad != tt.bad {
				t.Errorf("violations: %v, want %t", v.violations, tt.bad)
			}
		})
	}
}

func TestReleasesAreJudged(t *testing.T) {
	all := map[string][]tenure{"key": {{fence: 10, from: 0, to: 500 * ms, settled: true}}}
	got := acquires(1, 0, 1, 10, 1)
	for _, tt := range []struct {
		name  string
		lives []*life
		want  string
	}{
		{"by its holder", []*life{got, settles(1, 490, 510, 10, "done", settled)}, ""},
		{"perhaps by its holder", []*life{got, settles(1, 10, 20, 10, "done", unknown)}, ""},
		{"given back", nil, ""},
		{"by nobody", []*life{got}, "G5"},
		{"before it was asked for", []*life{got, settles(1, 900, 910, 10, "done", settled)}, "G5"},
		{"with another fence", []*life{got, settles(2, 490, 510, 20, "done", settled)}, "G5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdict{}
			checkReleases(tt.lives, all, v)
			wantViolation(t, v, tt.want)
		})
	}
}

func TestWhatHadNothingToLookAtIsNotChecked(t *testing.T) {
	v := &verdict{}
	all := map[string][]tenure{"key": {{fence: 10, from: 0, to: 500 * ms, settled: true}}}
	lives := []*life{acquires(1, 0, 1, 10, 1)}
	checkFences(lives, v)
	checkStale(lives, nil, v)
	checkLoss(lives, all, v)
	checkIdle(lives, 2, all, fault{mute: true}, nil, 9000*ms, v)
	checkHistory(lives, nil, 2, v)
	if len(v.judged) > 0 {
		t.Errorf("checked: %v", v.judged)
	}
}

func TestScriptCallsAreRecognized(t *testing.T) {
	claim := []string{"evalsha", "sha", "6", "plain 1", "plain 1"}
	if bundled(claim) || !bundled(append(claim, "plain 2")) || bundled([]string{"hset", "plain 1", "plain 2"}) {
		t.Error("bundles are not recognized")
	}
	if settle := []string{"EVALSHA", "sha", "key", "12", "d", "0"}; endsAttempts(settle) || !endsAttempts(append([]string{"eval"}, "1795363847586845000", "d")) {
		t.Error("settlements are not recognized")
	}
}

func TestRepeatsAreLeftOut(t *testing.T) {
	var ops []*operation
	for _, l := range []*life{acquires(1, 0, 1, 10, 1), settles(1, 2, 3, 10, "done", unknown), settles(1, 4, 5, 10, "done", unknown), settles(1, 6, 7, 10, "done", settled)} {
		ops = append(ops, l.operations...)
	}
	left := withoutRepeats(ops)
	if len(left) != 3 || left[1].At != 2*ms || left[2].answer.Result != settled {
		t.Errorf("left: %d, %v", len(left), left)
	}
}
