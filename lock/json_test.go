package lock_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lockingworker/lockingworker/lock"
)

// A fence is larger than the numbers that JSON's readers keep exact.
func TestFencesAreStringsInJSON(t *testing.T) {
	const fence = 1795342623640372001
	for _, v := range []any{
		lock.Claim{Fence: fence}, lock.Result{Fence: fence}, lock.Event{Fence: fence},
		lock.JobInfo{Fence: fence}, lock.AttemptInfo{Fence: fence},
	} {
		text := string(must[[]byte](t)(json.Marshal(v)))
		if !strings.Contains(text, `"Fence":"1795342623640372001"`) {
			t.Errorf("%T is %s", v, text)
		}
	}
}
