package httpx_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

// TestTLSPathAndToken: a server behind a proxy with a path, a certificate of
// its own and a token.
func TestTLSPathAndToken(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	f.token = "hush-1234"
	srv := httptest.NewTLSServer(f.around(http.StripPrefix("/base", f.triton(nil))))
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	cfg := httpx.Config{Servers: []httpx.Server{{Kind: httpx.Triton, URL: srv.URL + "/base/"}}, Token: "hush-1234", TLS: &tls.Config{RootCAs: roots}}
	s := open(t, cfg, false, a)
	s.fine(s.load(0, scheduler.TierDisk))
	s.fine(s.run(0, 1))

	cfg.TLS = nil
	if err := openError(t, cfg, a); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	cfg.TLS, cfg.Token = &tls.Config{RootCAs: roots}, "hush-9999"
	if err := openError(t, cfg, a); err == nil || !strings.Contains(err.Error(), "401: bad credentials: Bearer [secret]") {
		t.Errorf("a wrong token: %v", err)
	}
}

// openError returns what Open says.
func openError(t *testing.T, cfg httpx.Config, models ...scheduler.Model) error {
	t.Helper()
	e, err := httpx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Open(bounded(t), scheduler.Plan{Models: models})
	_ = e.Close(bounded(t))
	return err
}

// TestRedirects are not followed, wherever they lead, and no token with them.
func TestRedirects(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked of another server", r.Method, r.URL)
	}))
	t.Cleanup(other.Close)
	s := open(t, f.serve(httpx.Triton), false, a)
	for _, status := range []int{301, 302, 307, 308} {
		f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if !strings.HasSuffix(r.URL.Path, "/load") {
				return false
			}
			w.Header().Set("Location", other.URL+"/v2")
			w.WriteHeader(status)
			return true
		}
		s.fails(s.load(0, scheduler.TierDisk), scheduler.FailureUnknown, "a redirect to "+other.URL, "not followed")
	}
	f.let(nil)
}

// TestProxiesAreNotUsed, whatever the environment says.
func TestProxiesAreNotUsed(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	open(t, f.serve(httpx.Triton), false, a)
}

// TestNonsense loses the server: nobody knows what state it is in.
func TestNonsense(t *testing.T) {
	for what, body := range map[string]string{
		"no JSON of its API": "<html>It works!</html>", "more than 65536 bytes": strings.Repeat(" ", 1<<17) + "[]", "no list of models with names": `[{"state":"READY"}]`,
	} {
		a := model("a", 4*mib)
		f := newFake(t, a)
		s := open(t, f.serve(httpx.Triton), false, a)
		f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if r.URL.Path != "/v2/repository/index" {
				return false
			}
			_, _ = w.Write([]byte(body))
			return true
		}
		s.fails(s.load(0, scheduler.TierDisk), scheduler.FailureLost, "lost", what)
		f.let(nil)
		if err := s.e.Restart(bounded(t)); err != nil {
			t.Fatal(err)
		}
		s.fine(s.load(0, scheduler.TierDisk))
	}
	for kind, bodies := range map[httpx.Kind]map[string]string{
		httpx.Ollama:    {"/api/ps": `{}`, "/api/tags": `{"models":null}`, "/api/version": `{"name":"x"}`},
		httpx.LlamaSwap: {"/running": `{"run":[]}`, "/v1/models": `[]`},
		httpx.VLLM:      {"/is_sleeping": `{}`, "/v1/models": `{"data":[]}`, "/version": `{}`},
		httpx.Triton:    {"/v2": `{"name":"other","extensions":[]}`, "/v2/repository/index": `null`},
	} {
		for path, body := range bodies {
			a := model("a:1", 4*mib)
			f := newFake(t, a)
			f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
				if r.URL.Path != path {
					return false
				}
				_, _ = w.Write([]byte(body))
				return true
			}
			if err := openError(t, f.serve(kind), a); err == nil || !strings.Contains(err.Error(), path+" answered") {
				t.Errorf("%s: %s says %s: %v", kind, path, body, err)
			}
		}
	}
}

// TestMissingModels are named, with what is near.
func TestMissingModels(t *testing.T) {
	for kind, want := range map[httpx.Kind]string{
		httpx.Triton:    `has no model "whispr:1" (did you mean "whisper:1"?), model "gone" (for "clap"); there are qwen3:1, whisper:1`,
		httpx.Ollama:    `has no model "whispr:1" (did you mean "whisper:1"?), model "gone" (for "clap"); there are qwen3:1, whisper:1`,
		httpx.LlamaSwap: `has no model "whispr:1" (did you mean "whisper:1"?), model "gone" (for "clap"); there are qwen3:1, whisper:1`,
		httpx.VLLM:      `there is no server for model "whispr:1" (did you mean "whisper:1"?), model "clap"; there are qwen3:1, whisper:1`,
	} {
		f := newFake(t, model("whisper:1", mib), model("qwen3:1", mib))
		cfg := f.serve(kind)
		cfg.Names = map[string]string{"clap": "gone"}
		err := openError(t, cfg, model("whispr:1", mib), model("qwen3:1", mib), model("clap", mib))
		var missing *httpx.MissingError
		if !errors.As(err, &missing) || len(missing.Missing) != 2 || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v\nwanted: %s", kind, err, want)
		}
	}
	f := newFake(t, model("a", mib))
	cfg := f.serve(httpx.VLLM)
	cfg.Names = map[string]string{"a": "org/b"}
	if err := openError(t, cfg, model("a", mib)); err == nil || !strings.Contains(err.Error(), `has no model "org/b" (for "a") (did you mean "org/a"?); there are org/a`) {
		t.Errorf("another model is served: %v", err)
	}
	cfg = f.serve(httpx.Ollama)
	cfg.Names = map[string]string{"b": "a"}
	f.weights["a:latest"] = mib
	if err := openError(t, cfg, model("a", mib), model("b", mib)); err == nil || !strings.Contains(err.Error(), `is the name of "a" too`) {
		t.Errorf("two models of one name: %v", err)
	}
}

// TestServerIsNotThere: Open says so.
func TestServerIsNotThere(t *testing.T) {
	for _, kind := range httpx.Kinds() {
		f := newFake(t, model("a", mib))
		cfg := f.serve(kind)
		for i := range cfg.Servers {
			cfg.Servers[i].URL = "http://127.0.0.1:1" // reserved, while a port that was given back may be another's by now
		}
		if err := openError(t, cfg, model("a", mib)); err == nil || !strings.Contains(err.Error(), "the server does not answer") {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := httpx.Check(bounded(t), cfg, nil); err == nil || !strings.Contains(err.Error(), "the server does not answer") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestCheck looks and changes nothing.
func TestCheck(t *testing.T) {
	for _, kind := range httpx.Kinds() {
		a, b := model("a:1", 4*mib), model("b:1", 4*mib)
		f := newFake(t, a, b)
		cfg := f.serve(kind)
		s := open(t, cfg, false, a, b)
		s.fine(s.load(1, scheduler.TierDisk))
		f.asked()
		cfg.Names = map[string]string{"b": "b:1"}
		asked := []string{"a:1", "b", "c:1"}
		if kind == httpx.VLLM {
			cfg.Names, asked[1] = nil, "b:1"
		}
		r, err := httpx.Check(bounded(t), cfg, asked)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if r.Kind != kind || r.ObserveOnly != kind.ObserveOnly() || !strings.HasPrefix(r.Version, string(kind)+" ") || len(r.Present) != 2 || len(r.Models) != 3 || len(r.Others) != 0 {
			t.Errorf("%s: %+v", kind, r)
		}
		if m := r.Models[0]; !m.Present || m.Resident || m.Said == "" {
			t.Errorf("%s: %+v", kind, m)
		}
		if m := r.Models[1]; !m.Present || !m.Resident || m.Name != "b:1" {
			t.Errorf("%s: %+v", kind, m)
		}
		if m := r.Models[2]; m.Present || m.Resident || m.Nearest != "a:1" {
			t.Errorf("%s: %+v", kind, m)
		}
		if kind != httpx.VLLM {
			if r, err = httpx.Check(bounded(t), cfg, []string{"a:1"}); err != nil || len(r.Others) != 1 || r.Others[0] != "b:1" {
				t.Errorf("%s: %+v, %v", kind, r, err)
			}
		}
		if r, err = httpx.Check(bounded(t), cfg, nil); err != nil || len(r.Models) != 2 {
			t.Errorf("%s: %+v, %v", kind, r, err)
		}
		for _, request := range f.asked() {
			if strings.HasPrefix(request, "POST") && request != "POST /v2/repository/index" {
				t.Errorf("%s was asked %s", kind, request)
			}
		}
	}
}
