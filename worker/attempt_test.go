package worker

import (
	"encoding/json"
	"testing"
)

func TestAttempt(t *testing.T) {
	for number, last := range map[int]bool{1: false, 4: false, 5: true, 6: true} {
		if (Attempt{Number: number, Max: 5}).Last() != last {
			t.Errorf("attempt %d of 5: last is not %v", number, last)
		}
	}
}

// JavaScript would round a number as large as a fence is.
func TestFenceIsAStringInJSON(t *testing.T) {
	a := Attempt{Job: testJob, Number: 1, Max: 5, Fence: 1763803696123456001}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Job":{"Key":"job","Run":{"Name":"run","Retention":0}},"Number":1,"Max":5,"Fence":"1763803696123456001"}`
	if string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	var back Attempt
	if err := json.Unmarshal(text, &back); err != nil || back != a {
		t.Errorf("read back %+v, %v", back, err)
	}
}
