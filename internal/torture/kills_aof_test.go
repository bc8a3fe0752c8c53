package torture

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// storedFences returns the fences that stand in the append-only file, by resource.
func storedFences(t *testing.T, rdb *redis.Client, namespace string) map[string]map[int64]bool {
	t.Helper()
	config, err := rdb.ConfigGet(t.Context(), "dir").Result()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(config["dir"], "appendonlydir", "*.incr.aof"))
	if old, _ := filepath.Glob(filepath.Join(config["dir"], "appendonly.aof")); len(files) == 0 {
		files = old // before Redis 7
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("no append-only file in %s: %v", config["dir"], err)
	}
	fences := map[string]map[int64]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for in := bufio.NewReader(bytes.NewReader(text)); ; {
			args := readCommand(in)
			if args == nil {
				break
			}
			if !strings.EqualFold(args[0], "hset") || args[1] != "{"+namespace+":0}:locks" {
				continue
			}
			for i := 2; i+1 < len(args); i += 2 {
				if w := parseWrite(0, args[i+1]); w.fence != 0 {
					if fences[args[i]] == nil {
						fences[args[i]] = map[int64]bool{}
					}
					fences[args[i]][w.fence] = true
				}
			}
		}
	}
	return fences
}

// readCommand reads a command as clients send it; nil at the end.
func readCommand(in *bufio.Reader) []string {
	number := func(kind byte) int {
		for {
			text, err := in.ReadString('\n')
			if err != nil {
				return -1
			}
			if text[0] == kind {
				n, _ := strconv.Atoi(strings.TrimSpace(text[1:]))
				return n
			}
		}
	}
	n := number('*')
	if n < 1 {
		return nil
	}
	args := make([]string, n)
	for i := range args {
		size := number('$')
		if size < 0 {
			return nil
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(in, arg); err != nil {
			return nil
		}
		args[i] = string(arg[:size])
	}
	return args
}
