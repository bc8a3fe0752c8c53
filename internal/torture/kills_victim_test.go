package torture

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

// A victim is a process that acquires a job and works until it is killed, or told
// that this is enough.
type victimSpec struct {
	Number         int
	Address, Key   string
	MaxAttempts    int
	Namespace, Run string
}

// A victimStep is a line of its standard output.
type victimStep struct {
	What   string // waiting, granted, done or failed
	Fence  int64  `json:",string"`
	Number int
	At     int64
	Error  string
}

// beVictim is a victim, if this is to be one, and returns its exit code.
func beVictim() (code int, is bool) {
	text := os.Getenv(victimVariable)
	if text == "" {
		return 0, false
	}
	out := json.NewEncoder(os.Stdout)
	var s victimSpec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.live(func(x victimStep) { _ = out.Encode(x) })
	}
	if err != nil {
		_ = out.Encode(victimStep{What: "failed", Error: err.Error()})
		return 1, true
	}
	return 0, true
}

func (s victimSpec) live(tell func(victimStep)) error {
	rdb := redis.NewClient(&redis.Options{Addr: s.Address})
	defer func() { _ = rdb.Close() }()
	l, err := lock.New(rdb, lock.Config{Namespace: s.Namespace, Owner: ownerName(s.Number)})
	if err != nil {
		return err
	}
	var once sync.Once
	w, err := worker.New(l, worker.Config{TTL: victimLease, MaxAttempts: s.MaxAttempts, Handlers: worker.Handlers{
		OnLocked: func(worker.Job, string) { once.Do(func() { tell(victimStep{What: "waiting", At: now()}) }) },
	}})
	if err != nil {
		return err
	}
	g, err := w.Acquire(context.Background(), worker.Job{Key: s.Key, Run: worker.Run{Name: s.Run, Retention: time.Hour}})
	if err == nil {
		tell(victimStep{What: "granted", Fence: g.Attempt().Fence, Number: g.Attempt().Number})
		if _, err = io.Copy(io.Discard, os.Stdin); err == nil { // until it is enough
			err = g.Done(context.Background())
		}
	} else if errors.Is(err, worker.ErrDone) {
		err = nil
	}
	if err == nil {
		tell(victimStep{What: "done"})
		err = l.Close()
	}
	return err
}
