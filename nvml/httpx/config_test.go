package httpx_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/httpx"
)

func TestParseServer(t *testing.T) {
	for text, want := range map[string]httpx.Server{
		"triton=http://localhost:8000":            {Kind: httpx.Triton, URL: "http://localhost:8000"},
		"ollama=https://127.0.0.1/base":           {Kind: httpx.Ollama, URL: "https://127.0.0.1/base"},
		"llama-swap=http://[::1]:8080/":           {Kind: httpx.LlamaSwap, URL: "http://[::1]:8080/"},
		"vllm:whisper=http://localhost:8001":      {Kind: httpx.VLLM, Model: "whisper", URL: "http://localhost:8001"},
		"vllm:org/a:b=c=http://localhost:8001/v0": {Kind: httpx.VLLM, Model: "org/a:b=c", URL: "http://localhost:8001/v0"},
	} {
		if got, err := httpx.ParseServer(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, why := range map[string]string{
		"":                                "wants KIND=",
		"http://localhost:8000":           "wants KIND=",
		"triton=localhost:8000":           "wants KIND=",
		"triton=ftp://localhost":          "wants KIND=",
		"tritn=http://localhost":          "triton, ollama, vllm, llama-swap",
		"vllm=http://localhost":           "vllm:MODEL=http://localhost",
		"vllm:=http://localhost":          "vllm:MODEL=",
		"ollama:m=http://localhost":       "names none",
		"triton=http://":                  "no host",
		"triton=http://:8000":             "no host",
		"triton=http://localhost:80x":     "no URL",
		"triton=http://localhost?a=b":     "its path",
		"triton=http://localhost#a":       "its path",
		"triton=http://me:pw@localhost":   "token",
		"triton=http://me:pw@localhost:x": "token",
	} {
		_, err := httpx.ParseServer(text)
		var wrong *httpx.ServerError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v; it has to say %q", text, err, why)
		}
	}
}

// FuzzParseServer: what is accepted can be configured, and says all that the
// text did.
func FuzzParseServer(f *testing.F) {
	f.Add("vllm:whisper=http://localhost:8001")
	f.Add("triton=https://[::1]/a%2fb/")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := httpx.ParseServer(text)
		if err != nil {
			return
		}
		back := string(s.Kind) + "=" + s.URL
		if s.Kind == httpx.VLLM {
			back = string(s.Kind) + ":" + s.Model + "=" + s.URL
		}
		if back != text {
			t.Errorf("%q says %q", text, back)
		}
		if _, err := httpx.New(httpx.Config{Servers: []httpx.Server{s}, AllowRemote: true}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// TestNetwork01 is network-01 of the list of bad inputs: a server that is not
// on the loopback address is refused unless that is allowed; credentials are
// never shown.
func TestNetwork01(t *testing.T) {
	for _, host := range []string{"192.0.2.1", "example.org", "10.0.0.1:8000", "[2001:db8::1]", "0.0.0.0", "[::]", "localhost.example.org", "127.0.0.1.example.org"} {
		cfg := httpx.Config{Servers: []httpx.Server{{Kind: httpx.Triton, URL: "http://" + host}}, Token: "hush"}
		_, err := httpx.New(cfg)
		var remote *httpx.RemoteError
		if !errors.As(err, &remote) || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := httpx.Check(t.Context(), cfg, nil); !errors.As(err, &remote) {
			t.Errorf("%s is looked at: %v", host, err)
		}
		cfg.AllowRemote = true
		if _, err := httpx.New(cfg); err != nil {
			t.Errorf("%s, allowed: %v", host, err)
		}
		data, err := json.Marshal(cfg.Token)
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v %#v %q %x %d %s", cfg, cfg, cfg.Token, cfg.Token, cfg.Token, cfg.Token), string(data), cfg.Token.String()} {
			if strings.Contains(shown, "hush") || strings.Contains(shown, "68757368") {
				t.Errorf("a token is shown: %s", shown)
			}
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]"} {
		if _, err := httpx.New(httpx.Config{Servers: []httpx.Server{{Kind: httpx.Triton, URL: "http://" + host}}}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestConfigsThatAreWrong(t *testing.T) {
	triton := httpx.Server{Kind: httpx.Triton, URL: "http://localhost"}
	vllm := httpx.Server{Kind: httpx.VLLM, Model: "a", URL: "http://localhost"}
	for why, cfg := range map[string]httpx.Config{
		"no server":             {},
		"one kind":              {Servers: []httpx.Server{vllm, triton}},
		"all models":            {Servers: []httpx.Server{triton, triton}},
		"has a server already":  {Servers: []httpx.Server{vllm, vllm}},
		"which model":           {Servers: []httpx.Server{{Kind: httpx.VLLM, URL: "http://localhost"}}},
		"unknown kind":          {Servers: []httpx.Server{{Kind: "x", URL: "http://localhost"}}},
		"must begin with":       {Servers: []httpx.Server{{Kind: httpx.Triton, URL: "unix:/a"}}},
		"negative":              {Servers: []httpx.Server{triton}, MaxBody: -1},
		`is the name of "a"`:    {Servers: []httpx.Server{triton}, Names: map[string]string{"a": "x", "b": "x"}},
		"no path of names":      {Servers: []httpx.Server{triton}, Names: map[string]string{"a": "../admin"}},
		"or has control charac": {Servers: []httpx.Server{triton}, Names: map[string]string{"a": "a\r\nb"}},
	} {
		if _, err := httpx.New(cfg); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestParseToken(t *testing.T) {
	for text, want := range map[string]httpx.Secret{"abc\n": "abc", "abc": "abc", "a.b-c_1==\r\n": "a.b-c_1=="} {
		if got, err := httpx.ParseToken([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "\n", "hush hush", "hush\nhush\n", "hush\x00", "hüsh", strings.Repeat("hush", 1<<12)} {
		if _, err := httpx.ParseToken([]byte(text)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
