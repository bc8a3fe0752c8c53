package status

import (
	"fmt"
	"strings"
)

// Level says how much a worker reports, and how much detail an event is. The zero value is Normal.
type Level int8

const (
	// Silent emits nothing. No event has this level.
	Silent Level = iota - 1
	// Normal emits what changes for a job. It is the default.
	Normal
	// Verbose emits every step, also those that change nothing.
	Verbose
)

// ParseLevel returns the level named silent, normal or verbose, in upper or lower case. Any other text, the empty one
// included, is an error that names these three; the level is then Normal.
func ParseLevel(text string) (Level, error) {
	for l := Silent; l <= Verbose; l++ {
		if strings.EqualFold(text, l.String()) {
			return l, nil
		}
	}
	return Normal, fmt.Errorf("status: unknown level %q: want %s, %s or %s", text, Silent, Normal, Verbose)
}

// Enabled reports whether a worker configured with level l emits an event of level at.
func (l Level) Enabled(at Level) bool {
	return Silent < at && at <= l
}

// String returns the level's name in lower case, as ParseLevel reads it; for a value that is no level, Level(n).
func (l Level) String() string {
	switch l {
	case Silent:
		return "silent"
	case Normal:
		return "normal"
	case Verbose:
		return "verbose"
	default:
		return fmt.Sprintf("Level(%d)", int8(l))
	}
}

// Set makes *Level a [flag.Value]. It accepts what ParseLevel accepts; on an error the level stays as it was.
func (l *Level) Set(text string) error {
	parsed, err := ParseLevel(text)
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}

// MarshalText makes Level an [encoding.TextMarshaler]: the text is that of String. A value that is no level is an error,
// since nobody could read it back.
func (l Level) MarshalText() ([]byte, error) {
	if l < Silent || l > Verbose {
		return nil, fmt.Errorf("status: %v is none of %s, %s, %s", l, Silent, Normal, Verbose)
	}
	return []byte(l.String()), nil
}

// UnmarshalText makes *Level an [encoding.TextUnmarshaler], with the rules of Set.
func (l *Level) UnmarshalText(text []byte) error {
	return l.Set(string(text))
}
