package redistest

import "context"

// Stop freezes the server (SIGSTOP; docker pause): connections stay open, and nothing is answered. It runs on at
// [Server.Continue], and at the latest when the test ends, before what the test set up earlier is closed.
func (s *Server) Stop() {
	s.t.Helper()
	if s.do("stop", machine.pause) {
		s.t.Cleanup(func() { _ = s.node.machine.resume() })
	}
}

// Continue lets a stopped server run on. It does nothing to one that runs.
func (s *Server) Continue() {
	s.t.Helper()
	s.do("continue", machine.resume)
}

// Kill ends the server at once (SIGKILL) and returns when it is gone. Its folder stays.
func (s *Server) Kill() {
	s.t.Helper()
	s.do("kill", machine.kill)
}

// Restart starts a killed server on the same port and in the same folder, and returns when it serves, with the data that
// [AppendOnly] kept, or none.
func (s *Server) Restart() {
	s.t.Helper()
	s.do("restart", func(m machine) error { return m.restart(context.Background()) })
}

// do reports through Errorf, since Fatalf belongs to the test's own goroutine.
func (s *Server) do(what string, op func(machine) error) bool {
	s.t.Helper()
	if s.node.machine == nil {
		s.t.Errorf("redistest: cannot %s a server that other tests use: ask for redistest.Own", what)
		return false
	}
	if err := op(s.node.machine); err != nil {
		s.t.Errorf("redistest: %s %s: %v", what, s, err)
		return false
	}
	return true
}
