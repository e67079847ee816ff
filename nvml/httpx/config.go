package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of server.
type Kind string

// The kinds.
const (
	Triton    Kind = "triton"
	Ollama    Kind = "ollama"
	VLLM      Kind = "vllm"
	LlamaSwap Kind = "llama-swap"
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Triton, Ollama, VLLM, LlamaSwap} }

// ObserveOnly reports whether servers of the kind move models unasked: runs on
// them are labelled and never ranked.
func (k Kind) ObserveOnly() bool { return k == Ollama || k == LlamaSwap }

// Server is one server.
type Server struct {
	Kind Kind
	// Model is the one that the server has, by its name in the experiment, for
	// VLLM; others have all models and say nothing here.
	Model string
	// URL is where the server answers: http or https, a host, and if need be a
	// port and a path before those of its API. No user, no query.
	URL string
}

// ParseServer reads KIND=URL, or vllm:MODEL=URL. It returns a *ServerError.
func ParseServer(s string) (Server, error) {
	fail := func(what string, args ...any) (Server, error) {
		return Server{}, &ServerError{Text: s, What: fmt.Sprintf(what, args...)}
	}
	i := max(strings.Index(s, "=http://"), strings.Index(s, "=https://"))
	if i < 0 {
		return fail("wants KIND=http://HOST:PORT, or vllm:MODEL=http://HOST:PORT")
	}
	kind, model, named := strings.Cut(s[:i], ":")
	server := Server{Kind: Kind(kind), Model: model, URL: s[i+1:]}
	switch {
	case !slices.Contains(Kinds(), server.Kind):
		return fail("unknown kind %q; the kinds are %s", kind, join(Kinds()))
	case server.Kind == VLLM && model == "":
		return fail("a vllm server has one model: vllm:MODEL=%s", server.URL)
	case server.Kind != VLLM && named:
		return fail("a %s server has all models and names none", kind)
	}
	if _, err := server.parse(); err != nil {
		return Server{}, err
	}
	return server, nil
}

// parse returns the URL without a slash at its end.
func (s *Server) parse() (*url.URL, error) {
	fail := func(what string) (*url.URL, error) { return nil, &ServerError{Text: s.URL, What: what} }
	u, err := url.Parse(s.URL)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(s.URL, "@"):
		return nil, &ServerError{What: "its URL has a user or a password; give a token instead"} // and is not repeated
	case err != nil:
		return fail("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fail("must begin with http:// or https://")
	case u.Hostname() == "":
		return fail("has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("must end with its path")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// local reports whether a host is this machine by its name: nothing is
// resolved.
func local(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Config describes an Executor.
type Config struct {
	// Servers is the server; for VLLM one for each model of the experiment.
	Servers []Server
	// Names are models' names on the server, by their names in the experiment,
	// where they differ. Two models need two names.
	Names map[string]string
	// AllowRemote allows servers that are not on the loopback address. Without
	// it no connection leaves this machine, wherever "localhost" may point.
	AllowRemote bool
	// Token, if not empty, is sent as a bearer token. It appears in no error.
	Token Secret
	// TLS, if not nil, is for https. Without it the system's roots are trusted.
	TLS *tls.Config
	// Transport, if not nil, carries the requests instead of one made of TLS
	// and AllowRemote. The one that is made uses no proxy and repeats nothing,
	// and so should this one.
	Transport http.RoundTripper
	// LoadTimeout and RunTimeout are the least times after which a load or a
	// batch is given up; ten times its estimate, if that is longer.
	// UnloadTimeout is for evictions. 0: the defaults.
	LoadTimeout, RunTimeout, UnloadTimeout time.Duration
	// MaxBody is the most bytes that an answer may have. 0: DefaultMaxBody.
	MaxBody int64
	// Prompt is how many words each prompt has, and how long a tensor is where
	// a model leaves it open; Output is how many tokens an item of ordinary
	// work asks for. 0: the defaults.
	Prompt, Output int
}

// The defaults of Config.
const (
	DefaultLoadTimeout   = 60 * time.Second
	DefaultRunTimeout    = 30 * time.Second
	DefaultUnloadTimeout = 30 * time.Second
	DefaultMaxBody       = 8 << 20
	DefaultPrompt        = 256
	DefaultOutput        = 64
)

// fill sets defaults and returns what is wrong: a *ServerError, a *RemoteError
// or a *NameError.
func (c *Config) fill() error {
	setDefault(&c.LoadTimeout, DefaultLoadTimeout)
	setDefault(&c.RunTimeout, DefaultRunTimeout)
	setDefault(&c.UnloadTimeout, DefaultUnloadTimeout)
	setDefault(&c.MaxBody, DefaultMaxBody)
	setDefault(&c.Prompt, DefaultPrompt)
	setDefault(&c.Output, DefaultOutput)
	if c.LoadTimeout < 0 || c.RunTimeout < 0 || c.UnloadTimeout < 0 || c.MaxBody < 0 || c.Prompt < 0 || c.Output < 0 {
		return &ServerError{What: "timeouts, sizes and lengths must not be negative"}
	}
	if len(c.Servers) == 0 {
		return &ServerError{What: "no server was given"}
	}
	models := map[string]bool{}
	for i := range c.Servers {
		if err := c.checkServer(&c.Servers[i], models); err != nil {
			return err
		}
	}
	return c.checkNames()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) checkServer(s *Server, models map[string]bool) error {
	u, err := s.parse()
	switch kind := c.Servers[0].Kind; {
	case err != nil:
		return err
	case !slices.Contains(Kinds(), s.Kind):
		return &ServerError{Text: s.URL, What: fmt.Sprintf("unknown kind %q; the kinds are %s", s.Kind, join(Kinds()))}
	case s.Kind != kind:
		return &ServerError{Text: s.URL, What: fmt.Sprintf("is of kind %s beside one of kind %s; one kind a device", s.Kind, kind)}
	case kind != VLLM && len(c.Servers) > 1:
		return &ServerError{Text: s.URL, What: fmt.Sprintf("one %s server has all models of a device; %d were given", kind, len(c.Servers))}
	case kind == VLLM && s.Model == "":
		return &ServerError{Text: s.URL, What: "which model has it? A vllm server has one"}
	case models[s.Model]:
		return &ServerError{Text: s.URL, What: fmt.Sprintf("model %q has a server already", s.Model)}
	case !c.AllowRemote && !local(u.Hostname()):
		return &RemoteError{Host: u.Host}
	}
	models[s.Model] = true
	return nil
}

// checkNames refuses names that would mean something else in a URL's path, and
// those of two models.
func (c *Config) checkNames() error {
	of := map[string]string{}
	for model, name := range c.Names {
		if err := checkName(model, name); err != nil {
			return err
		}
		if other, twice := of[name]; twice && c.Servers[0].Kind != VLLM {
			return &NameError{Model: max(model, other), Name: name, What: fmt.Sprintf("is the name of %q too", min(model, other))}
		}
		of[name] = model
	}
	return nil
}

func checkName(model, name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return &NameError{Model: model, Name: name, What: "is empty or has control characters"}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return &NameError{Model: model, Name: name, What: "is no path of names"}
		}
	}
	return nil
}

// Secret is a text that is not shown: formatted or marshalled it says so
// instead.
type Secret string

const hidden = "[secret]"

// Format writes that it is secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// String returns that it is secret.
func (s Secret) String() string { return hidden }

// MarshalText returns that it is secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ParseToken returns the bearer token that is a file's content: one line of
// visible ASCII. The error does not repeat it.
func ParseToken(data []byte) (Secret, error) {
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" || len(text) > 8<<10 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &ServerError{What: "a token is one line of visible ASCII characters, at most 8 KiB"}
	}
	return Secret(text), nil
}

// ParseCA returns the configuration that trusts the certificate authorities of a
// file, in PEM, beside those of the system. All else is checked as ever.
func ParseCA(data []byte) (*tls.Config, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, &ServerError{What: "the system's certificates cannot be read: " + err.Error()}
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, &ServerError{What: "there is no certificate in PEM in it"}
	}
	return &tls.Config{RootCAs: roots}, nil
}

func join[T ~string](all []T) string {
	var s strings.Builder
	for i, one := range all {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(string(one))
	}
	return s.String()
}
