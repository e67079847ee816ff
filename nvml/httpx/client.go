package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// client sends requests to one server.
type client struct {
	base    string
	http    *http.Client
	token   Secret
	maxBody int64
}

// newTransport makes the transport of a configuration: no proxy, and without
// AllowRemote no connection that is not to this machine, whatever a name
// resolves to. Each request has a connection of its own: on one that was kept,
// net/http repeats some requests when the server breaks off, and the loss of
// all that was resident would go unseen; or the server closes it, as uvicorn
// does after 5 s, just when the next request comes, and passes for lost.
func newTransport(c *Config) http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !c.AllowRemote {
		dialer.Control = onlyLocal
	}
	return &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: c.TLS,
		TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true, DisableCompression: true}
}

func onlyLocal(_, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().Unmap().IsLoopback() {
		return &RemoteError{Host: address}
	}
	return nil
}

func newClient(c *Config, base *url.URL, transport http.RoundTripper) *client {
	return &client{base: base.String(), token: c.Token, maxBody: c.MaxBody, http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// request is one request. Its path is escaped already.
type request struct {
	method, path string
	body         []byte // nil: none
	kind         string // of the body
	header       map[string]string
	into         any // what the answer's JSON is read into; nil: the answer is only measured
}

// get asks for JSON.
func (c *client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, request{method: http.MethodGet, path: path, into: into})
}

// post sends JSON, nil for nothing, and reads JSON, if into is not nil.
func (c *client) post(ctx context.Context, path string, body, into any) error {
	r := request{method: http.MethodPost, path: path, into: into}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("bug: %w", err)
		}
		r.body, r.kind = data, "application/json"
	}
	return c.do(ctx, r)
}

// do sends a request and reads all of the answer. It returns the cause of a
// context that ended, a *connectionError, a *nonsenseError or a *statusError.
func (c *client) do(ctx context.Context, r request) error {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return fmt.Errorf("bug: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return broken(ctx, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, c.maxBody+1))
	switch {
	case err != nil:
		return broken(ctx, err)
	case int64(len(data)) > c.maxBody:
		return &nonsenseError{r.path, fmt.Sprintf("more than %d bytes", c.maxBody)}
	}
	return c.judge(&r, answer, data)
}

// judge reads an answer.
func (c *client) judge(r *request, answer *http.Response, data []byte) error {
	status := answer.StatusCode
	switch {
	case status >= 300 && status < 400:
		return &statusError{r.path, status, c.clean("a redirect to " + answer.Header.Get("Location") + ", which is not followed")}
	case status < 200 || status > 299:
		return &statusError{r.path, status, c.clean(errorText(data))}
	case r.into == nil:
		return nil
	}
	if err := json.Unmarshal(data, r.into); err != nil {
		return &nonsenseError{r.path, "no JSON of its API: " + c.clean(err.Error())}
	}
	return nil
}

// broken is why a request had no answer.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which is said elsewhere
	}
	return &connectionError{err}
}

// errorText finds the message in the answer of a server that says no: an
// "error" that is a text, as of Triton and Ollama, or an object with a
// "message", as of vLLM and llama-swap, or a "message" or "detail" of its own.
func errorText(data []byte) string {
	var said struct {
		Error           json.RawMessage
		Message, Detail any
	}
	if json.Unmarshal(data, &said) != nil {
		return string(data)
	}
	var text string
	var object struct{ Message string }
	switch {
	case json.Unmarshal(said.Error, &text) == nil && text != "":
		return text
	case json.Unmarshal(said.Error, &object) == nil && object.Message != "":
		return object.Message
	case said.Message != nil:
		return fmt.Sprint(said.Message)
	case said.Detail != nil:
		return fmt.Sprint(said.Detail)
	}
	return string(data)
}

// maxText is the most bytes of a server's message that are kept.
const maxText = 400

// clean makes a server's text fit to be shown: one line, bounded, without the
// token, should the server repeat it.
func (c *client) clean(text string) string {
	if c.token != "" {
		text = strings.ReplaceAll(text, string(c.token), hidden)
	}
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
}

// escape makes a model's name fit for a path. Slashes stay where the server
// takes the rest of the path for the name.
func escape(name string, slashes bool) string {
	escaped := url.PathEscape(name)
	if slashes {
		escaped = strings.ReplaceAll(escaped, "%2F", "/")
	}
	return escaped
}
