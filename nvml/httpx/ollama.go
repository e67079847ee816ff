package httpx

import (
	"context"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// ollamaServer speaks the API of Ollama, as documented at
// https://docs.ollama.com/api (docs/api.md of ollama/ollama): a request to
// /api/generate without a prompt loads, one with keep_alive 0 unloads (its
// answer comes before the memory is back), /api/ps is the index, /api/tags
// what is on its disk.
//
// Models are kept with keep_alive -1, so that no clock of Ollama's evicts
// them; it still evicts when it sees no room for another, which makes it
// observe-only. How many requests it runs at once is its OLLAMA_NUM_PARALLEL.
// It may end an answer before all tokens that were asked for.
type ollamaServer struct {
	client *client
	cfg    *Config
}

func (s *ollamaServer) version(ctx context.Context) (string, error) {
	var said struct{ Version *string }
	if err := s.client.get(ctx, "/api/version", &said); err != nil {
		return "", err
	}
	if said.Version == nil {
		return "", &nonsenseError{"/api/version", "without a version"}
	}
	return "ollama " + s.client.clean(*said.Version), nil
}

// ollamaModels is the answer of /api/tags and /api/ps.
type ollamaModels struct {
	Models []struct {
		Name     string
		Size     scheduler.Bytes
		SizeVRAM scheduler.Bytes `json:"size_vram"`
	}
}

func (s *ollamaServer) list(ctx context.Context, path string) (ollamaModels, error) {
	var said ollamaModels
	if err := s.client.get(ctx, path, &said); err != nil {
		return said, err
	}
	if said.Models == nil {
		return said, &nonsenseError{path, "without models"}
	}
	for i := range said.Models {
		if m := &said.Models[i]; m.Name == "" || m.SizeVRAM < 0 {
			return said, &nonsenseError{path, "a model without a name or with a negative size"}
		}
	}
	return said, nil
}

func (s *ollamaServer) present(ctx context.Context) ([]string, error) {
	said, err := s.list(ctx, "/api/tags")
	names := make([]string, 0, len(said.Models))
	for i := range said.Models {
		names = append(names, said.Models[i].Name)
	}
	slices.Sort(names)
	return names, err
}

// tagged adds the tag that Ollama adds to a name without one.
func tagged(name string) string {
	if strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		return name
	}
	return name + ":latest"
}

func (s *ollamaServer) resolve(ctx context.Context, models []string) ([]string, error) {
	names, err := s.present(ctx)
	if err != nil {
		return nil, err
	}
	return match(s.cfg, models, names, tagged)
}

func (s *ollamaServer) index(ctx context.Context, _ []string) (index, error) {
	said, err := s.list(ctx, "/api/ps")
	if err != nil {
		return nil, err
	}
	found := index{}
	for i := range said.Models {
		m := &said.Models[i]
		found[tagged(m.Name)] = entry{state: resident, said: m.Name + " is running", bytes: m.SizeVRAM}
	}
	return found, nil
}

// ollamaRequest is a request to /api/generate.
type ollamaRequest struct {
	Model     string         `json:"model"`
	Prompt    string         `json:"prompt,omitempty"`
	Raw       bool           `json:"raw,omitempty"` // no template around the prompt
	Stream    bool           `json:"stream"`
	KeepAlive int            `json:"keep_alive"`
	Options   *ollamaOptions `json:"options,omitempty"`
}

type ollamaOptions struct {
	Seed        int64   `json:"seed"`
	NumPredict  int     `json:"num_predict"`
	Temperature float64 `json:"temperature"`
}

// ollamaAnswer is its answer; durations are nanoseconds.
type ollamaAnswer struct {
	Done       *bool
	DoneReason string         `json:"done_reason"`
	PromptEval scheduler.Time `json:"prompt_eval_duration"`
	Eval       scheduler.Time `json:"eval_duration"`
}

func (s *ollamaServer) generate(ctx context.Context, r ollamaRequest) (ollamaAnswer, error) {
	const path = "/api/generate"
	var said ollamaAnswer
	if err := s.client.post(ctx, path, r, &said); err != nil {
		return said, err
	}
	if said.Done == nil || !*said.Done {
		return said, &nonsenseError{path, "that it is not done"}
	}
	return said, nil
}

func (s *ollamaServer) load(ctx context.Context, key string, _ scheduler.Tier) error {
	_, err := s.generate(ctx, ollamaRequest{Model: key, KeepAlive: -1})
	return err
}

func (s *ollamaServer) unload(ctx context.Context, key string, _ bool) error {
	_, err := s.generate(ctx, ollamaRequest{Model: key})
	return err
}

func (s *ollamaServer) run(ctx context.Context, key string, items []scheduler.CommandItem) (scheduler.Time, error) {
	return each(ctx, items, func(ctx context.Context, item *scheduler.CommandItem) (scheduler.Time, error) {
		a := s.cfg.newAsk(item)
		said, err := s.generate(ctx, ollamaRequest{Model: key, Prompt: a.prompt, Raw: true, KeepAlive: -1,
			Options: &ollamaOptions{Seed: a.seed, NumPredict: a.output}})
		return said.PromptEval + said.Eval, err
	})
}
