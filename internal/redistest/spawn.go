package redistest

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts all child processes from one OS thread that lives until the end of the test binary. Linux sends the
// parent-death signal when the *thread* that forked ends, and Go ends threads as it likes: a child forked from an ordinary
// goroutine could be killed in the middle of a test.
type spawner struct {
	once  sync.Once
	tasks chan func()
	ended chan struct{}
}

func (s *spawner) start(cmd *exec.Cmd) error {
	s.once.Do(func() {
		s.tasks = make(chan func())
		s.ended = make(chan struct{})
		go func() {
			defer close(s.ended)
			runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
			for task := range s.tasks {
				task()
			}
		}()
	})
	dieWithParent(cmd)
	started := make(chan error, 1)
	s.tasks <- func() { started <- cmd.Start() }
	return <-started
}

// stop ends the thread, and with it, on Linux, every child that still runs. Nothing may be started afterwards.
func (s *spawner) stop() {
	s.once.Do(func() {})
	if s.tasks != nil {
		close(s.tasks)
		<-s.ended
	}
}
