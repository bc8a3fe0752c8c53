package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ledger is who did which job, each time that it was done.
type ledger struct {
	by     map[string][]int        // processes, by job
	lost   map[string]map[int]bool // by job: processes that could not record it, as far as they know
	killed []int
}

func newLedger() ledger { return ledger{by: map[string][]int{}, lost: map[string]map[int]bool{}} }

// add notes a line of a process (see member.tell); first reports whether it did a job that had not been done before.
func (l *ledger) add(line string) (first bool, number int, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 || fields[0] != "process" {
		return false, 0, fmt.Errorf("not a line of a process: %q", line)
	}
	if number, err = strconv.Atoi(fields[1]); err != nil {
		return false, 0, err
	}
	key := fields[3]
	switch fields[2] {
	case did:
		l.by[key] = append(l.by[key], number)
		return len(l.by[key]) == 1, number, nil
	case lost:
		if l.lost[key] == nil {
			l.lost[key] = map[int]bool{}
		}
		l.lost[key][number] = true
		return false, number, nil
	default:
		return false, 0, fmt.Errorf("not a line of a process: %q", line)
	}
}

// count tells how many jobs were done once, and how many again. The error says that one was done again although whoever
// had done it was not killed, and has recorded it.
func (l *ledger) count() (once, repeated int, err error) {
	for key, numbers := range l.by {
		if len(numbers) == 1 {
			once++
			continue
		}
		repeated++
		for _, number := range numbers[:len(numbers)-1] {
			if !slices.Contains(l.killed, number) && !l.lost[key][number] {
				err = fmt.Errorf("%s was done by processes %v, and process %d was not killed, and has recorded it", key, numbers, number)
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
