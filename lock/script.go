package lock

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"strings"
)

// A script is Lua that Redis runs in one step; its file says what it does.
type script struct {
	name, source, sha string
	local             bool    // needs the key of the locks alone
	layout            *layout // nil: its calls go alone
}

var (
	//go:embed head.lua
	headLua string
	//go:embed entry.lua
	entryLua string
	//go:embed handover.lua
	handoverLua string
	//go:embed record.lua
	recordLua string
	//go:embed lock.lua
	lockLua string
	//go:embed unlock.lua
	unlockLua string
	//go:embed extend.lua
	extendLua string
	//go:embed renew.lua
	renewLua string
	//go:embed owners.lua
	ownersLua string
	//go:embed claim.lua
	claimLua string
	//go:embed pick.lua
	pickLua string
	//go:embed settle.lua
	settleLua string
	//go:embed leave.lua
	leaveLua string
	//go:embed sweep.lua
	sweepLua string
	//go:embed get.lua
	getLua string
	//go:embed scan.lua
	scanLua string
	//go:embed reset.lua
	resetLua string
	//go:embed permit.lua
	permitLua string
)

var (
	lockScript   = newScript("lock", compose(lockLua)).with(layout{shared: 4, least: -1, head: 3})
	unlockScript = newScript("unlock", compose(unlockLua)).with(layout{shared: 3, least: 1, tail: -1, head: 2})
	extendScript = newScript("extend", compose(extendLua)).with(layout{shared: 3, least: 0, tail: -1, head: 2})
	renewScript  = &script{name: "renew", source: renewLua, sha: sha(renewLua), local: true}
	ownersScript = newScript("owners", compose(ownersLua)).with(layout{least: -1, tail: -1, head: 2})
	claimScript  = newScript("claim", compose(claimLua)).with(layout{shared: 1, least: -1, width: 5, resource: 1, tail: 2, head: 2, answers: 4})
	pickScript   = newScript("pick", compose(pickLua))
	settleScript = newScript("settle", compose(settleLua)).with(layout{least: -1, width: 7, resource: 1, tail: -1, head: 2, answers: 1})
	leaveScript  = newScript("leave", compose(leaveLua))
	sweepScript  = newScript("sweep", compose(sweepLua))
	getScript    = newScript("get", compose(getLua)).with(layout{least: -1, width: 2, resource: 1, tail: -1, head: 2, answers: 3})
	scanScript   = newScript("scan", compose(scanLua))
	resetScript  = newScript("reset", compose(resetLua))
)

func newScript(name, source string) *script {
	return &script{name: name, source: source, sha: sha(source)}
}

func (s *script) with(y layout) *script {
	s.layout = &y
	return s
}

// Redis names scripts by their SHA-1.
func sha(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}

// library is where a script wants entry.lua, handover.lua and record.lua; those
// that do not say want them at once. What stands before runs without their cost.
const library = "--@library"

// compose puts head.lua in front of a script, and the library where it belongs.
func compose(body string) string {
	if !strings.Contains(body, library) {
		body = library + "\n" + body
	}
	return headLua + strings.Replace(body, library, entryLua+handoverLua+recordLua, 1)
}
