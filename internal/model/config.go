package model

// How many there are of everything.
const (
	Waiters = 3
	Runs    = 2
)

// A Config says what may happen.
type Config struct {
	Run [Waiters]uint8 // which run each waiter wants to work on: 0 or 1
	Max [Waiters]uint8 // the maximum of attempts that each claims with, 1 to 3
	Off Rule           // rules that do not hold

	// Plain locks instead of attempts at runs: without records, so that a nonce is not
	// used up. Run is then where each waits, and nothing else. A late claim may leave a
	// place in the queue then; whoever is offered the lock there in vain loses it.
	Plain bool

	// Foul weather: a waiter's timer may end at any moment. In fair weather, that is
	// without it and without faults, a timer ends only for one who was told not-before,
	// when that has passed; whoever needs another is stuck.
	Foul bool

	// How often it may happen, all waiters together.
	Cancels    uint8 // a caller's context ends
	Delays     uint8 // a failure has a delay
	Permanents uint8 // a failure is final
	Returns    uint8 // one who has left or was answered comes again
	Losses     uint8 // a request or its reply is lost, or comes too late; a settlement is given up
	Drops      uint8 // a message is lost
	Doubles    uint8 // a message comes twice
	Crashes    uint8 // a process dies
	Pauses     uint8 // a process or its connection stands still for longer than a lease or an offer lasts

	Crowd uint8 // how many of a run are woken at once when it is over; 0: all
}

// A Rule is one that the code keeps, or a set of them.
type Rule uint64

// The rules. The number is that of docs/design.md, Handing over.
const (
	Offers           Rule = 1 << iota // 1: a lock that is handed over is reserved for the next one
	OfferWakes                        // 1: who is offered a lock is woken
	OldestFirst                       // 1: the oldest who may be granted is next
	SkipsOver                         // 1: nobody is next whose run is done or exhausted
	SkipsEarly                        // 1: nobody is next who is too early
	NoPassing                         // 2: a free lock is not granted past an older one
	QueuesRefused                     // 2: who is refused is in the queue, in the same step
	ToldLeaves                        // 2: who is told done or exhausted is taken out of the queue
	Subscribed                        // the subscription is confirmed before a claim queues
	Remembers                         // 3: a message that comes while a claim is under way counts
	LeaveHandsOver                    // 4: leaving hands over what was offered to who leaves
	LeaveWaits                        // 4: leaving waits until no claim of its can be executed any more
	NotAfter                          // no claim is executed after its not-after: there is an end to wait for
	LeaveGivesBack                    // leaving, and whoever gets no use of a grant, give it back by its nonce
	GivesBackAgain                    // and once more when no claim of it can be executed any more
	SparesReal                        // but never the grant that did reach its caller
	RetiresLapsed                     // 5: who let an offer lapse is taken out of the queue
	EarlyWoken                        // 6: a failure with a delay wakes the oldest who is too early
	DoneWakes                         // 7: done and exhausted wake the run's waiters
	CrowdChain                        // 7: each that is told so wakes one more
	LeaverChain                       // 7: and so does one that leaves instead of being told
	Lifts                             // 7: a claim with a larger maximum lifts exhausted, also where it only queues
	DoneIsFinal                       // a done run is never granted again
	NonceUsedUp                       // 8: the nonce of an ended grant gets no other
	OwnNonce                          // a claim sent again finds its own grant
	Timers                            // 9: who waits claims again after a while
	CountsGrants                      // an attempt is counted when it is granted
	Bounded                           // no grant beyond the maximum
	ReturnsUncounted                  // but not one that is given back
	SettlesByFence                    // only the holder of that very grant settles
	SettlesInTime                     // and only while its lease lasts
	LocalDeadline                     // a holder stops when its lease is over by its own clock
	lastRule
)

var ruleNames = map[Rule]string{
	Offers: "Offers", OfferWakes: "OfferWakes", OldestFirst: "OldestFirst", SkipsOver: "SkipsOver", SkipsEarly: "SkipsEarly",
	NoPassing: "NoPassing", QueuesRefused: "QueuesRefused", ToldLeaves: "ToldLeaves", Subscribed: "Subscribed",
	Remembers: "Remembers", LeaveHandsOver: "LeaveHandsOver", LeaveWaits: "LeaveWaits", NotAfter: "NotAfter",
	LeaveGivesBack: "LeaveGivesBack", GivesBackAgain: "GivesBackAgain", SparesReal: "SparesReal", RetiresLapsed: "RetiresLapsed", EarlyWoken: "EarlyWoken",
	DoneWakes: "DoneWakes", CrowdChain: "CrowdChain", LeaverChain: "LeaverChain", Lifts: "Lifts", DoneIsFinal: "DoneIsFinal",
	NonceUsedUp: "NonceUsedUp", OwnNonce: "OwnNonce", Timers: "Timers", CountsGrants: "CountsGrants", ReturnsUncounted: "ReturnsUncounted", SettlesInTime: "SettlesInTime", Bounded: "Bounded",
	SettlesByFence: "SettlesByFence", LocalDeadline: "LocalDeadline",
}

// AllRules returns each rule.
func AllRules() []Rule {
	var all []Rule
	for r := Rule(1); r < lastRule; r <<= 1 {
		all = append(all, r)
	}
	return all
}

// String returns the name of one rule.
func (r Rule) String() string { return ruleNames[r] }

func (c *Config) on(r Rule) bool { return c.Off&r == 0 }
