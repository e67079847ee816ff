package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// badNetwork is what the list has for servers.
func badNetwork() []badInput {
	remote := func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "token"), "hush-1234\n")
		code, stdout, stderr := vramsim(t, "gpu", "run", miniature, "--executor", "http", "--server", "triton=http://192.0.2.1:8000",
			"--server-token", filepath.Join(folder, "token"), "-o", filepath.Join(folder, "runs"))
		if code != exitUsage || !strings.Contains(stderr, "loopback") || !strings.Contains(stderr, "--allow-remote") || strings.Contains(stdout+stderr, "hush") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
		if _, err := os.Stat(filepath.Join(folder, "runs")); err == nil {
			t.Error("a run was begun")
		}
	}
	return []badInput{
		{"network-01", "", []int{exitUsage}, remote},
		{"network-02", "no verb serves", nil, func(t *testing.T) {
			// That nothing in the module listens is TestNoListener's.
			code, _, stderr := vramsim(t, "report", "--listen", "0.0.0.0:80")
			if code != exitUsage || !strings.Contains(stderr, "unknown flag") {
				t.Errorf("exit %d: %s", code, stderr)
			}
		}},
	}
}

// ollama is a server with the models of the miniature, that holds what it is
// asked to and knows a token.
func ollama(t *testing.T, token string) string {
	var mu sync.Mutex
	running := map[string]bool{}
	tell := func(w http.ResponseWriter, body any) { _ = json.NewEncoder(w).Encode(body) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) { tell(w, map[string]string{"version": "0"}) })
	list := func(w http.ResponseWriter, all bool) {
		mu.Lock()
		defer mu.Unlock()
		models := []map[string]any{}
		for _, name := range []string{"asr:latest", "vision:latest", "qwen:0.6b"} {
			if all || running[name] {
				models = append(models, map[string]any{"name": name, "size_vram": 1000})
			}
		}
		tell(w, map[string]any{"models": models})
	}
	mux.HandleFunc("GET /api/tags", func(w http.ResponseWriter, _ *http.Request) { list(w, true) })
	mux.HandleFunc("GET /api/ps", func(w http.ResponseWriter, _ *http.Request) { list(w, false) })
	mux.HandleFunc("POST /api/generate", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Model string
			Keep  int `json:"keep_alive"`
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Errorf("%v", err)
		}
		mu.Lock()
		running[ask.Model] = ask.Keep != 0
		mu.Unlock()
		tell(w, map[string]bool{"done": true})
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestGPURunOnServer carries the miniature out on a server that moves models
// unasked: nothing is recommended by its figures, and the token is nowhere.
func TestGPURunOnServer(t *testing.T) {
	out := t.TempDir()
	write(t, filepath.Join(out, "token"), "hush-1234\n")
	args := []string{"gpu", "run", miniature, "-o", out, "-q", "--executor", "http", "--server", "ollama=" + ollama(t, "hush-1234"),
		"--server-token", filepath.Join(out, "token"), "--set", "workload.items=4", "--policy", "seed", "--policy", "sticky"}
	code, _, stderr := vramsim(t, args...)
	if code != exitUsage || !strings.Contains(stderr, `no model "text"`) || !strings.Contains(stderr, "qwen:0.6b") {
		t.Fatalf("a model that the server lacks: exit %d: %s", code, stderr)
	}
	code, stdout, stderr := vramsim(t, append(args, "--server-name", "text=qwen:0.6b")...)
	if code != exitOK && code != exitInvalid { // a busy host makes it INVALID
		t.Fatalf("exit %d: %s", code, stderr)
	}
	dir := newest(t, out)
	for _, name := range []string{"manifest.json", "summary.json", "report.md"} {
		data, err := os.ReadFile(dir.Join(name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data)+stdout+stderr, "hush") {
			t.Errorf("the token stands in %s", name)
		}
		if name == "summary.json" && !strings.Contains(string(data), "observe-only: ollama moves models unasked") {
			t.Errorf("%s does not say that the run is observe-only", name)
		}
	}
}

// TestServerFlags refuses flags that say nothing, or nothing right.
func TestServerFlags(t *testing.T) {
	for why, flags := range map[string][]string{
		"needs --server":    {"--executor", "http"},
		"wants KIND=":       {"--executor", "http", "--server", "localhost"},
		"wants MODEL=NAME":  {"--executor", "http", "--server", "ollama=http://localhost", "--server-name", "a"},
		"--server-token":    {"--executor", "http", "--server", "ollama=http://localhost", "--server-token", "nowhere"},
		"--server-ca":       {"--executor", "http", "--server", "ollama=https://localhost", "--server-ca", "nowhere"},
		"no certificate":    {"--executor", "http", "--server", "ollama=https://localhost", "--server-ca", miniature},
		"it is for http":    {"--executor", "sleep", "--server", "ollama=http://localhost"},
		"one ollama server": {"--executor", "http", "--server", "ollama=http://localhost", "--server", "ollama=http://localhost:1"},
		"does not answer":   {"--executor", "http", "--server", "ollama=http://127.0.0.1:1", "-q", "-o", t.TempDir()},
	} {
		want := exitUsage
		if why == "does not answer" { // what is needed is not there
			want = exitHardware
		}
		code, _, stderr := vramsim(t, append([]string{"gpu", "run", miniature}, flags...)...)
		if code != want || !strings.Contains(stderr, why) {
			t.Errorf("%v: exit %d: %s", flags, code, stderr)
		}
	}
}

// TestDoctorServer: what a server says of itself, or that it says nothing.
func TestDoctorServer(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "token"), "hush-1234\n")
	args := []string{"gpu", "doctor", "--folder", folder, "--server-token", filepath.Join(folder, "token"), "--server"}
	code, stdout, stderr := vramsim(t, append(args, "ollama="+ollama(t, "hush-1234"))...)
	for _, want := range []string{"ollama 0, 3 models", "moves models unasked", "none resident"} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, nothing of %q:\n%s%s", code, want, stdout, stderr)
		}
	}
	for server, want := range map[string]string{"ollama=" + ollama(t, "other"): "answered 401", "ollama=http://127.0.0.1:1": "does not answer"} {
		code, stdout, stderr = vramsim(t, append(args, server)...)
		if code != exitHardware || !strings.Contains(stdout, want) || strings.Contains(stdout+stderr, "hush") {
			t.Errorf("%s: exit %d:\n%s%s", server, code, stdout, stderr)
		}
	}
}

// TestServerTLS: a server with a certificate that the system does not trust is
// refused, unless its authority is given; a certificate for another host is
// refused even then.
func TestServerTLS(t *testing.T) {
	serve := func(address string) *httptest.Server {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Skipf("this system has one loopback address: %v", err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"version": "0.9", "models": []}`)
		}))
		s.Listener.Close()
		s.Listener, s.Config.ErrorLog = listener, log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	s, elsewhere := serve("127.0.0.1:0"), serve("127.0.0.2:0") // with a certificate for 127.0.0.1
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--server", "ollama=" + s.URL, "--server-ca", ca}, exitOK, "ollama 0.9, 0 models"},
		{[]string{"--server", "ollama=" + s.URL}, exitHardware, "certificate"},
		{[]string{"--server", "ollama=" + elsewhere.URL, "--server-ca", ca}, exitHardware, "127.0.0.2"},
	} {
		code, stdout, stderr := vramsim(t, append([]string{"gpu", "doctor", "--folder", t.TempDir()}, c.args...)...)
		if code != c.code || !strings.Contains(stdout, c.want) {
			t.Errorf("%v: exit %d:\n%s%s", c.args, code, stdout, stderr)
		}
	}
}
