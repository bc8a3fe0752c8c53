// Package model is no proof of the code: it is a small model of the rules by which
// lock's scripts grant, queue, hand over and settle, and by which queue.go and
// stray.go claim and leave, explored in every order of events. It knows neither
// time nor Redis: what takes time happens at any moment, and what a script does is
// one step. docs/model.md says what is modelled, what is not, and what came of it.
//
// There is one resource, three waiters (each a Locker with one caller) and two runs.
// A waiter claims, waits, works, settles, claims again or leaves; its requests and
// their replies, the messages that wake it, leases, offers and delays are steps of
// their own, which may come late. Faults (losses, crashes, pauses, …) are bounded by
// a budget each. Explore visits every state that can be reached, breadth-first, so
// that the trace of a violation is a shortest one.
//
//	r := model.Explore(&model.Config{Max: [3]uint8{2, 2, 2}, Run: [3]uint8{0, 0, 1}}, 0)
//
// Every rule can be switched off, by Config.Off. The model's own claim to be worth
// something is that then it finds what breaks: see the tests.
package model
