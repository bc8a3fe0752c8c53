package torture

import (
	"testing"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// crewGrant is a grant that was asked for, granted and told at one moment, and used
// until another. Times are ms.
func crewGrant(from, until int64, end string) crewNote {
	return crewNote{
		Kind: noteTenure, Resource: "key", Job: true, Run: "run", Fence: from * ms * 1000,
		Asked: from * ms, Told: from * ms, Until: until * ms, End: end, At: until * ms,
	}
}

// crewRecord is a run that is done with the last of these fences, each the time of
// its grant; those that are negative were not done.
func crewRecord(fences ...int64) map[lock.JobID]lock.JobInfo {
	job := lock.JobInfo{ID: lock.JobID{Key: "key", Run: "run"}, State: lock.JobDone}
	for _, f := range fences {
		a := lock.AttemptInfo{Fence: f * ms * 1000, End: "done"}
		if f < 0 {
			a.Fence, a.End = -a.Fence, "lapsed"
		}
		job.Attempts = append(job.Attempts, a)
		job.Fence = a.Fence
	}
	return map[lock.JobID]lock.JobInfo{job.ID: job}
}

func TestCrewsAreJudged(t *testing.T) {
	lossAt := func(from, to int64) losses { return losses{{from * ms, to * ms}} }
	trouble := func(err error, told, asked, at int64) crewNote {
		return crewNote{Kind: noteTrouble, Op: "Unlock", Error: crewKind(err), Told: told * ms, Asked: asked * ms, At: at * ms}
	}
	for _, tt := range []struct {
		name   string
		notes  []crewNote
		record map[lock.JobID]lock.JobInfo
		losses losses
		want   string
	}{
		{"failed, then done", []crewNote{crewGrant(10, 20, "failed"), crewGrant(20, 30, "done")}, crewRecord(-10, 20), nil, ""},
		{"done twice", []crewNote{crewGrant(10, 20, "done"), crewGrant(20, 30, "done")}, crewRecord(10, 20), nil, "G4"},
		{"done twice, and Redis remembers one", []crewNote{crewGrant(10, 20, "done"), crewGrant(20, 30, "done")}, crewRecord(20), nil, "G4"},
		{"done twice, and a killed master lost the first", []crewNote{crewGrant(10, 20, "done"), crewGrant(40, 50, "done")}, crewRecord(-10, 40), lossAt(15, 30), ""},
		{"done twice, and a killed master did not lose the first", []crewNote{crewGrant(10, 20, "done"), crewGrant(40, 50, "done")}, crewRecord(10, 40), lossAt(15, 30), "G4"},
		{"done twice, long before a master was killed", []crewNote{crewGrant(10, 20, "done"), crewGrant(30, 35, "done")}, crewRecord(30), lossAt(40, 60), "G4"},
		{"the done that counts has the smaller fence", []crewNote{crewGrant(10, 20, "done"), crewGrant(20, 30, "done")}, crewRecord(10), lossAt(15, 40), "G3"},
		{"done, and not known to Redis", []crewNote{crewGrant(10, 20, "done")}, nil, nil, "G4"},
		{"two at once", []crewNote{crewGrant(10, 25, "failed"), crewGrant(20, 30, "done")}, crewRecord(-10, 20), nil, "G1"},
		{"two at once, and a killed master lost the first", []crewNote{crewGrant(10, 25, "lost"), crewGrant(20, 30, "done")}, crewRecord(20), lossAt(5, 15), ""},
		{"two at once, and a master was killed later", []crewNote{crewGrant(10, 25, "lost"), crewGrant(20, 30, "done")}, crewRecord(20), lossAt(15, 18), "G1"},
		{"one fence for two", []crewNote{crewGrant(10, 10, "failed"), crewGrant(10, 20, "done")}, crewRecord(10), nil, "G3"},
		{
			"a smaller fence, asked for later",
			[]crewNote{crewGrant(10, 10, "failed"), {Kind: noteTenure, Resource: "key", Fence: 5 * ms * 1000, Asked: 20 * ms, Told: 20 * ms, Until: 20 * ms}},
			crewRecord(10), lossAt(0, 100), "G3",
		},
		{"a lease is lost", []crewNote{{Kind: noteLost, Asked: 10 * ms, Told: 11 * ms, At: 50 * ms}}, nil, nil, "leases"},
		{"a lease is lost that was granted before", []crewNote{{Kind: noteLost, Asked: 10 * ms, Told: 11 * ms, At: 50 * ms}}, nil, lossAt(20, 30), "leases"},
		{"a lease is lost whose grant was", []crewNote{{Kind: noteLost, Asked: 10 * ms, Told: 11 * ms, At: 50 * ms}}, nil, lossAt(5, 30), ""},
		{"done, when another attempt was at work", []crewNote{crewGrant(10, 40, "done"), crewGrant(20, 30, "lost")}, crewRecord(10), nil, "G5"},
		{"failed, when another attempt was at work", []crewNote{crewGrant(10, 40, "failed"), crewGrant(20, 50, "done")}, crewRecord(20), lossAt(5, 15), "G5"},
		{"an error", []crewNote{trouble(lock.ErrUnavailable, 0, 10, 20)}, nil, lossAt(5, 30), "errors"},
		{"a lost grant", []crewNote{trouble(lock.ErrNotHeld, 10, 40, 50)}, nil, lossAt(5, 30), ""},
		{"a grant that was not lost", []crewNote{trouble(lock.ErrNotHeld, 10, 40, 50)}, nil, lossAt(15, 30), "errors"},
		{"a settlement that did not get through", []crewNote{{Kind: noteTold, Text: "attempt #1 could not be recorded as done"}}, nil, lossAt(0, 100), "errors"},
		{"a wait that was told", []crewNote{{Kind: noteTold, Text: "TRYAGAIN"}}, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantViolation(t, &checkCrews(tt.notes, tt.record, time.Second, tt.losses).verdict, tt.want)
		})
	}
}

// TestCrewsAreJudgedWithoutC: when anything may have been lost, some violations remain.
func TestCrewsAreJudgedWithoutC(t *testing.T) {
	notes := []crewNote{
		{Kind: noteLost, Asked: 10 * ms, Told: 11 * ms, At: 50 * ms},
		{Kind: noteTrouble, Op: "Unlock", Error: crewKind(lock.ErrNotHeld), Told: 10 * ms, Asked: 40 * ms, At: 50 * ms},
		crewGrant(10, 25, "done"), crewGrant(20, 30, "done"),
		{Kind: noteTold, Error: crewKind(lock.ErrOutcomeUnknown), Text: "attempt #1 could not be recorded as done", At: 30 * ms},
	}
	judged := func(more ...crewNote) *verdict {
		v := checkCrews(append(notes, more...), crewRecord(20), time.Second, nil)
		v.judgeWithoutC()
		return &v.verdict
	}
	wantViolation(t, judged(), "G5")
	wantViolation(t, judged(crewNote{Kind: noteTenure, Resource: "key", Fence: 5 * ms * 1000, Asked: 60 * ms, Told: 60 * ms, Until: 60 * ms}), "G3")
	wantViolation(t, judged(crewNote{Kind: noteTrouble, Op: "Unlock", Error: crewKind(lock.ErrUnavailable), At: 20 * ms}), "errors")
	wantViolation(t, judged(crewNote{Kind: noteTold, Error: crewKind(lock.ErrUnavailable), Text: "attempt #1 could not be recorded as done", At: 30 * ms}), "errors")
	notes[2].Until = 20 * ms
	wantViolation(t, judged(), "")
}
