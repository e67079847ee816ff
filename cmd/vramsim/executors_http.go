package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

// httpFlags say which inference servers carry out commands.
type httpFlags struct {
	servers, names []string
	token, ca      string // files
	remote         bool

	config httpx.Config
}

func (f *httpFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.servers, "server", nil, "`KIND=URL` of a running triton, ollama or llama-swap, or vllm:MODEL=URL for each model"+only("server"))
	flags.StringArrayVar(&f.names, "server-name", nil, "`MODEL=NAME`: what a model of the experiment is called on the server (repeatable)"+only("server-name"))
	flags.StringVar(&f.token, "server-token", "", "`file` with a bearer token for the server"+only("server-token"))
	flags.StringVar(&f.ca, "server-ca", "", "`file` with certificates, in PEM, of authorities to trust beside the system's, for https"+only("server-ca"))
	flags.BoolVar(&f.remote, "allow-remote", false, "the server may be on another machine"+only("allow-remote"))
}

// read makes the configuration of the flags and refuses what is wrong with it.
func (f *httpFlags) read() error {
	if len(f.servers) == 0 {
		return withHint(usagef("--executor http needs --server"), "--server triton=http://localhost:8000")
	}
	c := httpx.Config{AllowRemote: f.remote, Names: map[string]string{}}
	for _, text := range f.servers {
		s, err := httpx.ParseServer(text)
		if err != nil {
			return usagef("--server: %w", err)
		}
		c.Servers = append(c.Servers, s)
	}
	for _, text := range f.names {
		model, name, ok := strings.Cut(text, "=")
		if !ok {
			return usagef("--server-name %q: wants MODEL=NAME", text)
		}
		c.Names[model] = name
	}
	if f.token != "" {
		data, err := os.ReadFile(f.token)
		if err != nil {
			return usagef("--server-token: %w", err)
		}
		if c.Token, err = httpx.ParseToken(data); err != nil {
			return usagef("--server-token: %w", err)
		}
	}
	if f.ca != "" {
		data, err := os.ReadFile(f.ca)
		if err != nil {
			return usagef("--server-ca: %w", err)
		}
		if c.TLS, err = httpx.ParseCA(data); err != nil {
			return usagef("--server-ca %s: %w", f.ca, err)
		}
	}
	_, err := httpx.New(c)
	if _, remote := errors.AsType[*httpx.RemoteError](err); remote {
		return withHint(usagef("--server: %w", err), "--allow-remote, if it is yours to load models on")
	}
	f.config = c
	return err
}

// unranked says why no policy may be chosen by the figures.
func (f *httpFlags) unranked() string {
	kind := f.config.Servers[0].Kind
	if !kind.ObserveOnly() {
		return ""
	}
	return fmt.Sprintf("observe-only: %s moves models unasked", kind)
}

// settings are what the manifest says: which servers, not how they are reached.
func (f *httpFlags) settings(s map[string]string) {
	s["server"] = strings.Join(f.servers, " ")
	if len(f.names) > 0 {
		s["server-name"] = strings.Join(slices.Sorted(slices.Values(f.names)), " ")
	}
}

// openHTTP makes the executor of the only device: a server has one.
func (b *bench) openHTTP() (scheduler.Executor, error) {
	if b.device > 0 {
		return nil, usagef("--executor http has one GPU; the experiment has more")
	}
	return httpx.New(b.flags.http.config)
}
