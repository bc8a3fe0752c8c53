//go:build !linux

package main

import (
	"os"
	"testing"
)

// postgres returns the database at DATABASE_URL, or skips the test.
func postgres(t *testing.T) string {
	t.Helper()
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		t.Skip("no PostgreSQL: DATABASE_URL is not set")
	}
	return url
}
