//go:build !race

package locktest_test

const slower = 1
