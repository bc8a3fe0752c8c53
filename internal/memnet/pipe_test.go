package memnet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lockingworker/lockingworker/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Writing waits for nobody, however much it is, and all of it is read, in order, also after the writer has gone.
func TestWrittenBeforeRead(t *testing.T) {
	client, server := memnet.Pipe()
	var want strings.Builder
	for i := range 1000 {
		line := strings.Repeat(string(rune('a'+i%26)), 100)
		want.WriteString(line)
		if n, err := io.WriteString(client, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(server)
	if err != nil || string(got) != want.String() {
		t.Errorf("read %d bytes of %d, %v", len(got), want.Len(), err)
	}
	if _, err := io.WriteString(server, "too late"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("written to who has gone: %v", err)
	}
}

func TestReadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		go func() {
			time.Sleep(time.Hour)
			_, _ = io.WriteString(server, "hello")
		}()
		b := make([]byte, 10)
		if n, err := client.Read(b); string(b[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", b[:n], err)
		}
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := memnet.Pipe()
		began := time.Now()
		if err := client.SetDeadline(began.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := client.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		go func() { // one that is set while a Read waits counts as well
			time.Sleep(time.Second)
			_ = client.SetReadDeadline(time.Now().Add(time.Second))
		}()
		_ = client.SetReadDeadline(time.Time{})
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute+2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestCloseEndsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe()
		errs := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			errs <- err
		}()
		synctest.Wait()
		_ = client.Close()
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := io.WriteString(client, "x"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if err := client.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
		if _, err := server.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // as readers do
			t.Errorf("Read at the other end: %v", err)
		}
	})
}

// Fail comes behind what has arrived; what arrives after it is lost.
func TestFailure(t *testing.T) {
	reset := errors.New("reset")
	in := memnet.NewInbox()
	in.Arrive([]byte("ab"))
	in.Fail(reset)
	in.Fail(io.EOF)
	in.Arrive([]byte("c"))
	got, err := io.ReadAll(in)
	if string(got) != "ab" || !errors.Is(err, reset) || !errors.Is(in.Err(), reset) {
		t.Errorf("%q, %v, %v", got, err, in.Err())
	}
	_ = in.Close()
	if !errors.Is(in.Err(), net.ErrClosed) {
		t.Error(in.Err())
	}
}
