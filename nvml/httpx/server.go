package httpx

import (
	"context"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
)

// server is one API. Models go by keys, which resolve returns. Its methods may
// be called at once; what they return of errors is what client.do does, or a
// *scheduler.CommandError.
type server interface {
	// version returns what answers: a name and a version.
	version(ctx context.Context) (string, error)
	// present returns the names of the models that can be loaded, sorted.
	present(ctx context.Context) ([]string, error)
	// resolve returns the keys of models of the experiment. It returns a
	// *MissingError if the server lacks some.
	resolve(ctx context.Context, models []string) ([]string, error)
	// index returns what the server says of the keys, and it may be of others.
	// Of whom it says nothing is absent.
	index(ctx context.Context, keys []string) (index, error)
	load(ctx context.Context, key string, from scheduler.Tier) error
	// unload asks a model to leave. If warm, its weights stay in host memory
	// where the server can do that.
	unload(ctx context.Context, key string, warm bool) error
	// run carries out a batch and returns how long it kept the device busy, 0
	// if the server does not tell.
	run(ctx context.Context, key string, items []scheduler.CommandItem) (scheduler.Time, error)
}

// index is what a server says of its models, by key.
type index map[string]entry

// entry is what it says of one.
type entry struct {
	state state
	said  string          // in its words
	bytes scheduler.Bytes // of device memory, 0 if it does not tell
}

// state is where a model is.
type state uint8

const (
	absent state = iota
	resident
	moving // on its way in or out
)

func (i index) of(key string) entry {
	e := i[key]
	if e.said == "" {
		e.said = "nothing of " + key
	}
	return e
}

// newServer makes the server of a configuration that has been filled.
func newServer(c *Config) (server, error) {
	transport := newTransport(c)
	clients := make([]*client, len(c.Servers))
	for i := range c.Servers {
		base, err := c.Servers[i].parse()
		if err != nil {
			return nil, err
		}
		clients[i] = newClient(c, base, transport)
	}
	switch c.Servers[0].Kind {
	case Triton:
		return &tritonServer{client: clients[0], cfg: c, configs: map[string]*tritonConfig{}}, nil
	case Ollama:
		return &ollamaServer{client: clients[0], cfg: c}, nil
	case LlamaSwap:
		return &llamaSwapServer{client: clients[0], cfg: c}, nil
	default:
		return newVLLM(c, clients), nil
	}
}

// match finds models among the names that are present; canonical makes
// spellings of one name equal.
func match(c *Config, models, present []string, canonical func(string) string) ([]string, error) {
	var missing []Missing
	keys := make([]string, len(models))
	taken := map[string]string{}
	for i, model := range models {
		name := c.nameOf(model)
		if err := checkName(model, name); err != nil {
			return nil, err
		}
		keys[i] = canonical(name)
		if other, twice := taken[keys[i]]; twice {
			return nil, &NameError{Model: model, Name: name, What: "is the name of \"" + other + "\" too"}
		}
		taken[keys[i]] = model
		if !slices.ContainsFunc(present, func(p string) bool { return canonical(p) == keys[i] }) {
			missing = append(missing, Missing{Model: model, Name: name, Nearest: nearest.To(name, present)})
		}
	}
	if len(missing) > 0 {
		return nil, &MissingError{URL: c.Servers[0].URL, Missing: missing, Present: present}
	}
	return keys, nil
}

// nameOf returns a model's name on the server.
func (c *Config) nameOf(model string) string {
	if name, ok := c.Names[model]; ok {
		return name
	}
	return model
}

func same(name string) string { return name }
