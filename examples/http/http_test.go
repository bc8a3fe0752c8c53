package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/lockingworker/lockingworker/contrib/workerprom"
	"github.com/lockingworker/lockingworker/examples/internal/demo/demotest"
	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
	"github.com/lockingworker/lockingworker/worker"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

// get returns a page of the program.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demotest.Bound)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// await asks for a page until it is as wanted.
func await(t *testing.T, url string, ok func(body string) bool) {
	t.Helper()
	for end := time.Now().Add(demotest.Bound); ; time.Sleep(5 * time.Millisecond) {
		_, body := get(t, url)
		if ok(body) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s never was as wanted, but\n%s", url, body)
		}
	}
}

// names are the metrics of the collector.
func names(t *testing.T) []string {
	t.Helper()
	m := workerprom.New()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	l, err := m.Locker(rdb, lock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := m.Worker(l, worker.Config{}, "reports"); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		all = append(all, f.GetName())
	}
	return all
}

func TestServiceShowsItsReportAndEveryMetric(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-addr", "127.0.0.1:0", "-every", "1h", "-work", "1ms", "-fail", "0")
	url := p.Await(`^Listening on (http://.+)$`)[1]
	await(t, url, func(body string) bool {
		var r report
		return json.Unmarshal([]byte(body), &r) == nil && r.State == "done" && r.Attempt == 1 && r.Fence > 0
	})
	await(t, url+"/metrics", func(body string) bool { // counted when Run has returned
		return strings.Contains(body, "\nlockingworker_worker_outcomes_total{kind=\"reports\",outcome=\"completed\"} 1")
	})
	_, metrics := get(t, url+"/metrics")
	for _, name := range names(t) {
		if !strings.Contains(metrics, "\n# TYPE "+name+" ") || !strings.Contains(metrics, "\n"+name) {
			t.Errorf("/metrics does not show %s", name)
		}
	}
	for _, line := range []string{
		"lockingworker_worker_attempts_ended_total{end=\"done\",kind=\"reports\"} 1",
		"lockingworker_lock_grants_total 1",
		"lockingworker_lock_leases 0",
		"go_goroutines ",
		"process_start_time_seconds ",
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	if status, body := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz is %d %q", status, body)
	}
	if status, _ := get(t, url+"/elsewhere"); status != http.StatusNotFound {
		t.Errorf("/elsewhere is %d", status)
	}
	p.Signal(syscall.SIGTERM)
	status, s := p.Finish()
	if status != 0 || s["outcome"] != "stopped" || s.Int("completed") != 1 || s["redis"] != "embedded" {
		t.Errorf("exit status %d, %v", status, s)
	}
}

// TestSIGTERMGivesTheAttemptBack: it is not counted, nothing is held, and the next one need not wait.
func TestSIGTERMGivesTheAttemptBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Any)
	namespace := server.Namespace(t)
	p := demotest.Start(t, "-addr", "127.0.0.1:0", "-redis", server.URL(), "-namespace", namespace, "-every", "1h", "-work", "1h", "-linger", "2s")
	url := p.Await(`^Listening on (http://.+)$`)[1]
	var r report
	await(t, url, func(body string) bool {
		return json.Unmarshal([]byte(body), &r) == nil && r.State == "running" && r.Attempt == 1
	})
	p.Signal(syscall.SIGTERM)
	await(t, url+"/healthz", func(body string) bool { return body == "ending\n" })
	await(t, url+"/metrics", func(body string) bool {
		return strings.Contains(body, "\nlockingworker_worker_attempts_ended_total{end=\"returned\",kind=\"reports\"} 1\n")
	})
	status, s := p.Finish()
	if status != 0 || s["outcome"] != "stopped" || s.Int("interrupted") != 1 || s["redis"] != "given" {
		t.Errorf("exit status %d, %v", status, s)
	}
	if !strings.Contains(p.Errors(), `"msg":"attempt given back"`) {
		t.Error("the log does not tell of it")
	}
	l, err := lock.New(server.Client(t), lock.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	infos, err := l.Jobs().Get(t.Context(), lock.JobID{Key: r.Key, Run: r.Run})
	if err != nil || infos[0].Attempt != 0 || infos[0].TTL != 0 || len(infos[0].Attempts) != 1 || infos[0].Attempts[0].End != "returned" {
		t.Errorf("the job is %+v, %v", infos, err)
	}
}

// TestServiceWithoutRedis: it starts, says that it is not healthy, and ends when it is told to.
func TestServiceWithoutRedis(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-addr", "127.0.0.1:0", "-redis", "redis://127.0.0.1:1")
	url := p.Await(`^Listening on (http://.+)$`)[1]
	for _, path := range []string{"/healthz", "/"} {
		if status, body := get(t, url+path); status != http.StatusServiceUnavailable || !strings.Contains(body, "redis does not answer") {
			t.Errorf("%s is %d %q", path, status, body)
		}
	}
	await(t, url+"/metrics", func(body string) bool {
		return strings.Contains(body, "\nlockingworker_worker_errors_total{kind=\"reports\",reason=\"unavailable\"} ") &&
			!strings.Contains(body, "\nlockingworker_worker_errors_total{kind=\"reports\",reason=\"unavailable\"} 0\n")
	})
	p.Signal(syscall.SIGTERM)
	if status, s := p.Finish(); status != 0 || s.Int("interrupted") != 1 {
		t.Errorf("exit status %d, %v", status, s)
	}
}

// TestHealthWhileEnding: no more requests are wanted, though those that come are answered.
func TestHealthWhileEnding(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, redistest.Any).Client(t)
	s, err := newService(rdb, settings{namespace: "unused", every: time.Hour}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.locker.Close()
	for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if w.Code != want {
			t.Errorf("/healthz is %d %q, want %d", w.Code, w.Body, want)
		}
		s.end()
	}
}

func TestEndsByItself(t *testing.T) {
	t.Parallel()
	p := demotest.Start(t, "-addr", "127.0.0.1:0", "-for", "1ms")
	if status, s := p.Finish(); status != 0 || s["outcome"] != "stopped" {
		t.Errorf("exit status %d, %v", status, s)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"-every", "0s"}, 2, "-every 0s"},
		{[]string{"-fail", "2"}, 2, "-fail 2"},
		{[]string{"more"}, 2, `"more"`},
		{[]string{"-redis", "redis://:secret@host:port"}, 1, "-redis or REDIS_URL"},
		{[]string{"-namespace", "{}", "-redis", "redis://127.0.0.1:1"}, 1, "Config.Namespace"},
		{[]string{"-addr", "nowhere"}, 1, "nowhere"},
	} {
		p := demotest.Start(t, tt.args...)
		status, _ := p.Finish()
		if text := p.Errors(); status != tt.status || !strings.Contains(text, tt.text) || strings.Contains(text, "secret") {
			t.Errorf("%v: exit status %d, %s", tt.args, status, text)
		}
	}
}
