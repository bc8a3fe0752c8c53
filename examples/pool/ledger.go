package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ledger is who did which job, each time that it was done.
type ledger struct {
	by     map[string][]int // processes, by job
	killed []int
}

// add notes a line of a process; first reports whether the job had not been done before.
func (l *ledger) add(line string) (first bool, number int, err error) {
	number, key, err := parseLine(line)
	if err != nil {
		return false, 0, err
	}
	l.by[key] = append(l.by[key], number)
	return len(l.by[key]) == 1, number, nil
}

// parseLine reads what member.work writes.
func parseLine(line string) (number int, key string, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 || fields[0] != "process" || fields[2] != "did" {
		return 0, "", fmt.Errorf("not a line of a process: %q", line)
	}
	number, err = strconv.Atoi(fields[1])
	return number, fields[3], err
}

// count tells how many jobs were done once, and how many again. The error says that one was done again although nobody had
// been killed who had done it.
func (l *ledger) count() (once, repeated int, err error) {
	for key, numbers := range l.by {
		if len(numbers) == 1 {
			once++
			continue
		}
		repeated++
		for _, number := range numbers[:len(numbers)-1] {
			if !slices.Contains(l.killed, number) {
				err = fmt.Errorf("%s was done by processes %v, and process %d was not killed", key, numbers, number)
			}
		}
	}
	return once, repeated, err
}

// shares tells how many works the processes did that were not killed: the one with the fewest, and the one with the most.
func (l *ledger) shares(processes int) (least, most int) {
	works := make([]int, processes+1)
	for _, numbers := range l.by {
		for _, number := range numbers {
			works[number]++
		}
	}
	least = -1
	for number := 1; number <= processes; number++ {
		if slices.Contains(l.killed, number) {
			continue
		}
		if n := works[number]; least < 0 || n < least {
			least = n
		}
		most = max(most, works[number])
	}
	return least, most
}
