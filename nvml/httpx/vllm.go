package httpx

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/nearest"
)

// vllmServer speaks the API of vLLM's sleep mode, as documented at
// https://docs.vllm.ai/en/latest/features/sleep_mode/: a server for each model,
// started with VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode, of which all but
// the resident ones sleep. A model is resident when /is_sleeping says no.
//
// Sleep of level 1 keeps the weights in host memory, of level 2 drops them. A
// load from the host wakes all at once; one from disk, or of a model that was
// not put to sleep at level 1 by us, wakes the weights' memory, reloads the
// weights and wakes the cache of keys and values. Contexts, graphs and some
// buffers stay on the device of every server.
type vllmServer struct {
	cfg     *Config
	engines map[string]*vllmEngine // by model of the experiment
	order   []string
}

// vllmEngine is one of the servers.
type vllmEngine struct {
	*client
	url  string
	name string      // of the model, on the server
	warm atomic.Bool // it sleeps with its weights in host memory
	half atomic.Bool // a load was begun and did not end well
}

func newVLLM(c *Config, clients []*client) *vllmServer {
	s := &vllmServer{cfg: c, engines: map[string]*vllmEngine{}}
	for i := range c.Servers {
		model := c.Servers[i].Model
		s.engines[model] = &vllmEngine{client: clients[i], url: c.Servers[i].URL}
		s.order = append(s.order, model)
	}
	slices.Sort(s.order)
	return s
}

// version asks all servers and returns what one of them says.
func (s *vllmServer) version(ctx context.Context) (string, error) {
	version := ""
	for _, model := range s.order {
		var said struct{ Version *string }
		e := s.engines[model]
		err := e.get(ctx, "/version", &said)
		if err == nil && said.Version == nil {
			err = &nonsenseError{"/version", "without a version"}
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", e.url, err)
		}
		version = "vllm " + e.clean(*said.Version)
	}
	return version, nil
}

func (s *vllmServer) present(context.Context) ([]string, error) { return s.order, nil }

// resolve asks each server for the model that it serves. Keys are the models
// of the experiment.
func (s *vllmServer) resolve(ctx context.Context, models []string) ([]string, error) {
	var missing []Missing
	for _, model := range models {
		e := s.engines[model]
		if e == nil {
			missing = append(missing, Missing{Model: model, Name: model, Nearest: nearest.To(model, s.order)})
			continue
		}
		if err := s.serve(ctx, model, e); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		return nil, &MissingError{Missing: missing, Present: s.order}
	}
	return models, nil
}

// serve finds the name of the model that a server serves.
func (s *vllmServer) serve(ctx context.Context, model string, e *vllmEngine) error {
	const path = "/v1/models"
	var said struct {
		Data []struct {
			ID     string
			Parent *string // of an adapter
		}
	}
	if err := e.get(ctx, path, &said); err != nil {
		return fmt.Errorf("%s: %w", e.url, err)
	}
	var names []string
	for i := range said.Data {
		if said.Data[i].Parent == nil && said.Data[i].ID != "" {
			names = append(names, said.Data[i].ID)
		}
	}
	want, named := s.cfg.Names[model]
	switch {
	case len(names) == 0:
		return fmt.Errorf("%s: %w", e.url, &nonsenseError{path, "no model"})
	case !named:
		e.name = names[0] // the others are other names of the same
		return nil
	}
	e.name = want
	if slices.Contains(names, want) {
		return nil
	}
	return &MissingError{URL: e.url, Missing: []Missing{{Model: model, Name: want, Nearest: nearest.To(want, names)}}, Present: names}
}

// index asks only the servers of the keys: one that is just loading answers
// when it is done, for which others must not wait.
func (s *vllmServer) index(ctx context.Context, keys []string) (index, error) {
	const path = "/is_sleeping"
	found := index{}
	for _, key := range keys {
		var said struct {
			Sleeping *bool `json:"is_sleeping"`
		}
		e := s.engines[key]
		if err := e.get(ctx, path, &said); err != nil {
			return nil, sleepless(e, err)
		}
		switch {
		case said.Sleeping == nil:
			return nil, &nonsenseError{path, "without is_sleeping"}
		case *said.Sleeping && e.half.Load():
			found[key] = entry{state: resident, said: key + " is half awake"}
		case *said.Sleeping:
			found[key] = entry{state: absent, said: key + " is sleeping"}
		default:
			found[key] = entry{state: resident, said: key + " is awake"}
		}
	}
	return found, nil
}

// sleepless explains the answer of a server without sleep mode.
func sleepless(e *vllmEngine, err error) error {
	if status, ok := err.(*statusError); ok && status.status == 404 {
		return fmt.Errorf("%s: %w (sleep mode needs VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode)", e.url, err)
	}
	return err
}

// load wakes a model in steps. One that is half awake passes for sleeping and
// holds memory: the index has to know it from here.
func (s *vllmServer) load(ctx context.Context, key string, from scheduler.Tier) error {
	e := s.engines[key]
	e.half.Store(true)
	if warm := e.warm.Swap(false); warm && from == scheduler.TierHost {
		if err := e.post(ctx, "/wake_up", nil, nil); err != nil {
			return err
		}
	} else if err := e.reload(ctx); err != nil {
		return err
	}
	e.half.Store(false)
	return nil
}

func (e *vllmEngine) reload(ctx context.Context) error {
	if err := e.post(ctx, "/wake_up?tags=weights", nil, nil); err != nil {
		return err
	}
	if err := e.post(ctx, "/collective_rpc", map[string]string{"method": "reload_weights"}, nil); err != nil {
		return err
	}
	return e.post(ctx, "/wake_up?tags=kv_cache", nil, nil)
}

// unload puts to sleep what is awake of a model.
func (s *vllmServer) unload(ctx context.Context, key string, warm bool) error {
	level := 2
	if warm {
		level = 1
	}
	e := s.engines[key]
	if err := e.post(ctx, "/sleep?level="+strconv.Itoa(level), nil, nil); err != nil {
		return sleepless(e, err)
	}
	e.warm.Store(warm)
	e.half.Store(false)
	return nil
}

// completionRequest is a request to /v1/completions; ignore_eos is vLLM's own
// (https://docs.vllm.ai/en/latest/serving/openai_compatible_server/).
type completionRequest struct {
	Model       string  `json:"model"`
	Prompt      string  `json:"prompt"`
	MaxTokens   int     `json:"max_tokens"`
	IgnoreEOS   bool    `json:"ignore_eos"`
	Seed        int64   `json:"seed"`
	Temperature float64 `json:"temperature"`
	Stream      bool    `json:"stream"`
}

// run fails if fewer tokens come than were asked for: that would be less work.
func (s *vllmServer) run(ctx context.Context, key string, items []scheduler.CommandItem) (scheduler.Time, error) {
	const path = "/v1/completions"
	e := s.engines[key]
	return each(ctx, items, func(ctx context.Context, item *scheduler.CommandItem) (scheduler.Time, error) {
		a := s.cfg.newAsk(item)
		var said struct {
			Choices []json.RawMessage
			Usage   struct {
				Completion *int `json:"completion_tokens"`
			}
		}
		err := e.post(ctx, path, completionRequest{Model: e.name, Prompt: a.prompt, MaxTokens: a.output, IgnoreEOS: true, Seed: a.seed}, &said)
		switch n := said.Usage.Completion; {
		case err != nil:
			return 0, err
		case len(said.Choices) == 0 || n == nil:
			return 0, &nonsenseError{path, "without choices or usage"}
		case *n != a.output:
			return 0, &scheduler.CommandError{Text: fmt.Sprintf("%s generated %d tokens where %d were asked for", path, *n, a.output)}
		}
		return 0, nil
	})
}
