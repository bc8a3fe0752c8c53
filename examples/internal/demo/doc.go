// Package demo shows nothing about locks, and is for no other program: it lets the examples run with one command. It finds
// or starts a Redis for them, and starts them again as processes of their own.
package demo
