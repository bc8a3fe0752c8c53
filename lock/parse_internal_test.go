package lock

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const someEntry = "L00001795000000" + "0001795000000000001" + "AbCdEfGhI-_" + "00000000030000" + "owner"

func TestParseEntryReadsWhatIsWritten(t *testing.T) {
	for _, owner := range []string{"o", "L", "\x00", "\xff", "a b\nc", strings.Repeat("x", MaxName)} {
		for _, lease := range []time.Duration{MinTTL, 30 * time.Second, NoExpiry, NoExpiry - 1} {
			tail, nonce := tailOf(999, millis(lease), owner)
			text := "L" + expiryText(1795000000000000, lease) + "1795000000000000" + tail
			e, ok := parseEntry(text)
			if !ok || e.owner != owner || e.nonce != nonce || e.fence != 1795000000000000999 || e.lease.Truncate(time.Millisecond) != lease.Truncate(time.Millisecond) && lease != NoExpiry {
				t.Errorf("%q: %+v, %v", text, e, ok)
			}
			if left := e.left(1795000000000000); left.Truncate(time.Millisecond) != lease.Truncate(time.Millisecond) {
				t.Errorf("lease %v: %v left", lease, left)
			}
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, s := range []string{"", "L", someEntry, "O00001795000000f0001rp0000" + "0001795000000000" + "AbCdEfGhI-_", strings.Repeat("9", 80)} {
		f.Add(s, int64(1795000000000000))
	}
	f.Fuzz(func(t *testing.T, s string, stamp int64) {
		e, ok := parseEntry(s)
		if !ok {
			return
		}
		if e.fence < 0 || e.lease < 0 || e.expiry < 0 || stamp >= 0 && e.left(stamp) < 0 {
			t.Fatalf("%q: %+v, %v left", s, e, e.left(stamp))
		}
		if e.offered {
			return
		}
		lease := s[45:59]
		if again := fmt.Sprintf("%c%014d%s%s%s%s", s[0], e.expiry, fenceText(e.fence), e.nonce, lease, e.owner); again != s {
			t.Fatalf("%q is read as %q", s, again)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	const record = "Jr00000000000000 2 5 00000000060000 00000000030000 " +
		"2 0001795000000000001 AbCdEfGhI-_ 1795000000000 0 - 5 0 owner" +
		"1 0001794000000000001 AbCdEfGhI-_ 1794000000000 1794000000001 f 2 3 mewhy"
	for _, s := range []string{"", "J", record, record[:60], record + "x", strings.Replace(record, " 5 ", " 99999999999999999999 ", 1)} {
		f.Add(s, someEntry, int64(1795000000000000))
	}
	f.Fuzz(func(t *testing.T, s, lock string, stamp int64) {
		info, ok := parseRecord(JobID{"k", "r"}, s, lock, stamp)
		if !ok || s == "" {
			return
		}
		if info.ID != (JobID{"k", "r"}) || info.Attempt < 0 || info.Max < 0 || stamp >= 0 && info.TTL < 0 {
			t.Fatalf("%q: %+v", s, info)
		}
		size := 0
		for _, a := range info.Attempts {
			size += len(a.Owner) + len(a.Cause)
		}
		if size > len(s) {
			t.Fatalf("%q: %d bytes of names and causes", s, size)
		}
	})
}

func FuzzParseEvents(f *testing.F) {
	f.Add("0 1795000000000000 1 1795000000000000 x1:r2:me19:1795000000000000001")
	f.Add("0 1 1 1 j1:k1:o1:110:0001kj0000")
	f.Add("0 1 1 1 x99999999999999999999:r")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		shard, first, events, ok := parseEvents(s)
		if !ok {
			return
		}
		if len(events) == 0 || first < 0 || len(shard) > len(s) || len(events) > len(s) {
			t.Fatalf("%q: shard %q, first %d, %d events", s, shard, first, len(events))
		}
		for _, e := range events {
			if e.Kind == 0 || (e.Kind == EventJob) != (e.Job != nil) {
				t.Fatalf("%q: %+v", s, e)
			}
		}
	})
}

func FuzzParsePlace(f *testing.F) {
	f.Add("0001kj0000", "k", "r")
	f.Add("0001kp0000", "\x00", "")
	f.Add("+001kj0000", "0001kj0000", "j")
	f.Add("00_1kj0000", "", "")
	f.Fuzz(func(t *testing.T, place, key, run string) {
		if id, ok := parsePlace(place); ok && !strings.EqualFold(jobPlace(id), place) {
			t.Fatalf("%q is read as %+v", place, id)
		}
		if len(key) > MaxName || len(run) > MaxName {
			return
		}
		id := JobID{key, run}
		if got, ok := parsePlace(jobPlace(id)); !ok || got != id {
			t.Fatalf("%+v is read as %+v, %v", id, got, ok)
		}
	})
}
