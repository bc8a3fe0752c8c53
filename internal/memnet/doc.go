// Package memnet is no network: it knows no addresses, delays or limits, and what is written is in memory until it is
// read. It has connections within a process, for servers and clients in a bubble of testing/synctest.
//
// A net.Pipe would do there, were it not for mutexes: whoever writes to one waits until that is read, often with a mutex
// held, and a goroutine that waits for a mutex keeps the bubble's time from passing. Here writing never waits.
package memnet
