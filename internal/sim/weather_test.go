package sim

import (
	"math/rand/v2"
	"time"
)

// A weather says how likely it is that a packet, a connection or a message fares badly.
type weather struct {
	slowest   time.Duration // of packets that fare well
	late      float64       // a packet, with all behind it, …
	latest    time.Duration // … by up to this
	cutBefore float64       // the connection breaks, and what was sent is lost
	cutAfter  float64       // what was sent is executed; the answer, and the connection, are lost
	refuse    float64       // no connection is made

	lost, doubled, lateMessage float64 // messages
}

// delay is what a packet takes. To the nanosecond, so that hardly any two arrive at once.
func (f *weather) delay(rng *rand.Rand) time.Duration {
	return 50*time.Microsecond + within(rng, f.slowest)
}

// fair is weather in which G6 and G7 give their bounds: packets arrive, messages
// perhaps not.
func fair(rng *rand.Rand) weather {
	f := weather{slowest: 2 * time.Millisecond, latest: 2 * time.Second}
	switch rng.IntN(4) {
	case 0: // nothing is lost
	case 1:
		f.lost = 1
	default:
		f.lost, f.doubled, f.lateMessage = rng.Float64()/2, rng.Float64()/4, rng.Float64()/4
	}
	return f
}

// storm is weather in which anything may happen to anything.
func storm(rng *rand.Rand) weather {
	part := func(most float64) float64 {
		if rng.IntN(3) == 0 {
			return 0
		}
		return most * rng.Float64()
	}
	return weather{
		slowest: time.Duration(1+rng.IntN(20)) * time.Millisecond, late: part(0.1), latest: time.Duration(100+rng.IntN(4000)) * time.Millisecond,
		cutBefore: part(0.1), cutAfter: part(0.1), refuse: part(0.3),
		lost: part(0.7), doubled: part(0.3), lateMessage: part(0.3),
	}
}

// within is a random time below most.
func within(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}
