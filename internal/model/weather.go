package model

// A Weather is a named Config: something of what may happen, small enough that all
// of it can be visited.
type Weather struct {
	Name   string
	Config Config
	Part   int // all of it is too much: visit so many states at most
}

var (
	twoRuns = [Waiters]uint8{0, 0, 1}
	oneRun  = [Waiters]uint8{0, 0, 0}
	twice   = [Waiters]uint8{2, 2, 2}
	once    = [Waiters]uint8{1, 1, 1}
	unequal = [Waiters]uint8{1, 2, 2}
)

// Weathers returns what is explored: first the fair ones.
func Weathers() []Weather {
	return []Weather{
		{Name: "fair, cancels", Config: Config{Run: twoRuns, Max: twice, Cancels: 2}},
		{Name: "fair, delays", Config: Config{Run: twoRuns, Max: twice, Cancels: 1, Delays: 1}},
		{Name: "fair, one run", Config: Config{Run: oneRun, Max: twice, Cancels: 1, Delays: 1}},
		{Name: "fair, unequal maxima", Config: Config{Run: twoRuns, Max: unequal, Cancels: 1, Delays: 1}},
		{Name: "fair, crowd", Config: Config{Run: oneRun, Max: twice, Cancels: 1, Delays: 1, Crowd: 1}},
		{Name: "fair, for good", Config: Config{Run: twoRuns, Max: unequal, Cancels: 1, Permanents: 1}},
		{Name: "fair, comes again", Config: Config{Run: twoRuns, Max: once, Cancels: 1, Returns: 1}},
		{Name: "messages", Config: Config{Run: twoRuns, Max: twice, Foul: true, Drops: 2, Doubles: 1}},
		{Name: "messages, cancels", Config: Config{Run: twoRuns, Max: twice, Foul: true, Drops: 1, Cancels: 1}},
		{Name: "crashes", Config: Config{Run: twoRuns, Max: twice, Foul: true, Crashes: 2}},
		{Name: "crash, delay", Config: Config{Run: twoRuns, Max: twice, Foul: true, Crashes: 1, Delays: 1}},
		{Name: "crash, cancel", Config: Config{Run: oneRun, Max: twice, Foul: true, Crashes: 1, Cancels: 1}},
		{Name: "pause", Config: Config{Run: twoRuns, Max: twice, Foul: true, Pauses: 1}},
		{Name: "pauses", Config: Config{Run: twoRuns, Max: once, Foul: true, Pauses: 2}},
		{Name: "loss", Config: Config{Run: twoRuns, Max: once, Foul: true, Losses: 1}},
		{Name: "loss, cancel", Config: Config{Run: twoRuns, Max: once, Foul: true, Losses: 1, Cancels: 1}},
		{Name: "loss, crash", Config: Config{Run: twoRuns, Max: once, Foul: true, Losses: 1, Crashes: 1}},
		{Name: "loss, pause", Config: Config{Run: twoRuns, Max: once, Foul: true, Losses: 1, Pauses: 1}},
		{Name: "loss, comes again", Config: Config{Run: oneRun, Max: once, Foul: true, Losses: 1, Cancels: 1, Returns: 1}},
		{Name: "losses", Config: Config{Run: twoRuns, Max: once, Foul: true, Losses: 2}},
		{Name: "loss, two attempts", Config: Config{Run: twoRuns, Max: twice, Foul: true, Losses: 1}},
		{Name: "plain locks, fair", Config: Config{Run: oneRun, Max: once, Plain: true, Cancels: 2, Returns: 1}},
		{Name: "plain locks, loss, cancel", Config: Config{Run: oneRun, Max: once, Plain: true, Foul: true, Losses: 1, Cancels: 1, Returns: 1}},
		{Name: "plain locks, losses", Config: Config{Run: oneRun, Max: once, Plain: true, Foul: true, Losses: 2}},
		{Name: "plain locks, crash, pause", Config: Config{Run: oneRun, Max: once, Plain: true, Foul: true, Crashes: 1, Pauses: 1, Losses: 1}},
		{Name: "fair, more of it", Config: Config{Run: twoRuns, Max: unequal, Cancels: 2, Delays: 2, Permanents: 1, Returns: 1}},
		{Name: "loss, cancel, two attempts", Config: Config{Run: twoRuns, Max: twice, Foul: true, Losses: 1, Cancels: 1}},
		{Name: "loss, crash, two attempts", Config: Config{Run: twoRuns, Max: twice, Foul: true, Losses: 1, Crashes: 1}},
		{Name: "no losses", Config: Config{Run: twoRuns, Max: once, Foul: true, Cancels: 1, Drops: 1, Doubles: 1, Crashes: 1, Pauses: 1}},
		{Name: "everything", Part: 10_000_000, Config: Config{
			Run: twoRuns, Max: twice, Foul: true,
			Cancels: 1, Delays: 1, Permanents: 1, Returns: 1, Losses: 1, Drops: 1, Doubles: 1, Crashes: 1, Pauses: 1,
		}},
	}
}

// Explore visits the states of a Weather, at most so many (0: no limit but its own).
func (w *Weather) Explore(limit int) Result {
	if w.Part > 0 && (limit == 0 || limit > w.Part) {
		limit = w.Part
	}
	return Explore(&w.Config, limit)
}

// Breaking returns a Weather in which something breaks once the rule is off.
func Breaking(r Rule) Weather {
	w := breaking[r]
	w.Config.Off = r
	return w
}

var (
	fairWeather = Weather{Name: "fair", Config: Config{Run: twoRuns, Max: twice, Cancels: 1, Delays: 1}}
	withCrash   = Weather{Name: "a crash", Config: Config{Run: twoRuns, Max: twice, Foul: true, Crashes: 1}}
	withLoss    = Weather{Name: "a loss", Config: Config{Run: twoRuns, Max: twice, Foul: true, Losses: 1}}
	withCancel  = Weather{Name: "a loss, a cancel", Config: Config{Run: twoRuns, Max: twice, Foul: true, Losses: 1, Cancels: 1}}
	inCrowd     = Weather{Name: "fair, a crowd of one", Config: Config{Run: oneRun, Max: twice, Cancels: 1, Crowd: 1}}
)

var breaking = map[Rule]Weather{
	Offers:           withCrash,
	OfferWakes:       fairWeather,
	OldestFirst:      fairWeather,
	SkipsOver:        fairWeather,
	SkipsEarly:       {Name: "fair, a delay", Config: Config{Run: twoRuns, Max: twice, Delays: 1}},
	NoPassing:        fairWeather,
	QueuesRefused:    fairWeather,
	ToldLeaves:       fairWeather,
	Subscribed:       fairWeather,
	Remembers:        fairWeather,
	LeaveHandsOver:   {Name: "fair, a cancel", Config: Config{Run: twoRuns, Max: twice, Cancels: 1}},
	LeaveWaits:       withCancel,
	NotAfter:         withCancel,
	LeaveGivesBack:   fairWeather,
	GivesBackAgain:   {Name: "plain locks, a loss", Config: Config{Run: oneRun, Max: once, Plain: true, Foul: true, Losses: 1}},
	SparesReal:       withLoss,
	RetiresLapsed:    withCrash,
	EarlyWoken:       fairWeather,
	DoneWakes:        fairWeather,
	CrowdChain:       inCrowd,
	LeaverChain:      inCrowd,
	Lifts:            {Name: "fair, unequal maxima", Config: Config{Run: twoRuns, Max: unequal, Delays: 1}},
	DoneIsFinal:      fairWeather,
	NonceUsedUp:      withLoss,
	OwnNonce:         withLoss,
	Timers:           {Name: "a lost message", Config: Config{Run: twoRuns, Max: twice, Foul: true, Drops: 1}},
	CountsGrants:     withCrash,
	Bounded:          withCrash,
	ReturnsUncounted: fairWeather,
	SettlesByFence:   withCrash,
	SettlesInTime:    withCrash,
	LocalDeadline:    {Name: "a pause", Config: Config{Run: twoRuns, Max: twice, Foul: true, Pauses: 1}},
}
