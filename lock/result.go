package lock

import "time"

// Claim names a resource and who wants it, has it, or gives it back.
type Claim struct {
	Resource string        // what is locked: 1 to 512 bytes, any bytes
	Owner    string        // who: 1 to 512 bytes; empty is Config.Owner for Hold, TryHold and Do, an error elsewhere
	Fence    int64         `json:",string"` // not 0: Extend and Unlock only this very grant; an error on a lock
	TTL      time.Duration // lease time; 0 is Config.TTL; NoExpiry for none

	entry string        // the entry as it was granted, where it is known: lets Redis compare whole values
	set   *grants       // or what it was granted with
	held  time.Duration // how long it was kept, for the observers
}

// Claims makes one claim for each resource, all with the same owner.
func Claims(owner string, resources ...string) []Claim {
	cs := make([]Claim, len(resources))
	for i, r := range resources {
		cs[i] = Claim{Resource: r, Owner: owner}
	}
	return cs
}

// Result is what came of one input.
type Result struct {
	Resource string
	Owner    string        // the holder after the call; "" if free, or only offered to a waiter
	Fence    int64         `json:",string"` // of the holder's grant; never 0 for a grant
	TTL      time.Duration // time left to the holder; NoExpiry for none
	Err      error         // nil if this input succeeded

	entry    string        // the entry in Redis behind a grant, or
	set      *grants       // what it was granted with
	lease    time.Duration // the lease time of a grant
	deadline time.Duration // local end of a grant, by the Locker's clock
}

// Results has one Result for each input, in the order of the inputs.
type Results []Result

// OK returns those that succeeded, in their order.
func (rs Results) OK() Results {
	var out Results
	for _, r := range rs {
		if r.Err == nil {
			out = append(out, r)
		}
	}
	return out
}

// Refused returns those that did not succeed, in their order.
func (rs Results) Refused() Results {
	var out Results
	for _, r := range rs {
		if r.Err != nil {
			out = append(out, r)
		}
	}
	return out
}

// Claims returns claims for those that succeeded, with owner, fence and lease
// time, for Extend and Unlock.
func (rs Results) Claims() []Claim {
	cs := make([]Claim, 0, len(rs))
	for i := range rs {
		if r := &rs[i]; r.Err == nil {
			cs = append(cs, Claim{Resource: r.Resource, Owner: r.Owner, Fence: r.Fence, TTL: r.lease, entry: r.entry, set: r.set})
		}
	}
	return cs
}

// err joins the results' errors: nil only if every one succeeded.
func (rs Results) err(op string) error {
	for i := range rs {
		if rs[i].Err != nil {
			return &BatchError{Op: op, Results: rs}
		}
	}
	return nil
}
