package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// postgres returns the database at DATABASE_URL, or of a server that it starts for this test from the programs of a package
// (Debian's postgresql). It listens on a socket in a folder that only its user may enter, and on no port. Without either
// the test is skipped.
func postgres(t *testing.T) string {
	t.Helper()
	if url := os.Getenv("DATABASE_URL"); url != "" {
		return url
	}
	programs := programsOfPostgres(t)
	dir, err := os.MkdirTemp("", "fenced-postgres") //nolint:usetesting // TempDir is in a folder that only this user may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // its children notice, and end as well
	if os.Geteuid() == 0 {                                 // whom PostgreSQL does not serve
		as.Credential = postgresUser(t)
		if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as.Credential}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	var said bytes.Buffer
	server := exec.Command(filepath.Join(programs, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Dir, server.SysProcAttr, server.Stderr = dir, as, &said
	ended := start(t, server)
	url := fmt.Sprintf("host=%s user=test dbname=postgres sslmode=disable", dir)
	for begun := time.Now(); ; {
		err := ping(t, url)
		if err == nil {
			return url
		}
		select {
		case <-ended:
			t.Fatalf("postgres has ended:\n%s", &said)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

func programsOfPostgres(t *testing.T) string {
	t.Helper()
	if file, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(file)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Skip("no PostgreSQL: DATABASE_URL is not set, and there is no initdb on PATH or in /usr/lib/postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

func postgresUser(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Skipf("no PostgreSQL: it does not run as root, and %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// start starts the server and ends it with the test. The thread that started it lives as long, since the kernel ends the
// server with that thread.
func start(t *testing.T, server *exec.Cmd) (ended <-chan struct{}) {
	t.Helper()
	started, stopped := make(chan error), make(chan struct{})
	go func() {
		defer close(stopped)
		runtime.LockOSThread()
		err := server.Start()
		started <- err
		if err == nil {
			_ = server.Wait() // by a signal
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once
		<-stopped
	})
	return stopped
}

func ping(t *testing.T, url string) error {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.PingContext(t.Context())
}
