package httpx

import (
	"context"
	"net/http"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

// llamaSwapServer speaks the API of llama-swap, as documented in
// https://github.com/mostlygeek/llama-swap (README.md): any request to
// /upstream/{model}/ starts the model, POST /api/models/unload/{model} stops
// it, /running is the index, /v1/models what is configured.
//
// It starts what a request asks for and stops others to make room, by its
// configured groups or matrix, which makes it observe-only. Models go by their
// IDs in its configuration, not by aliases; unlisted ones are not found.
type llamaSwapServer struct {
	client *client
	cfg    *Config
}

// version asks for the version, which older ones do not tell.
func (s *llamaSwapServer) version(ctx context.Context) (string, error) {
	var said struct{ Version string }
	err := s.client.get(ctx, "/api/version", &said)
	if has[*statusError](err) {
		_, err = s.index(ctx, nil)
		return "llama-swap", err
	}
	return "llama-swap " + s.client.clean(said.Version), err
}

func (s *llamaSwapServer) present(ctx context.Context) ([]string, error) {
	const path = "/v1/models"
	var said struct {
		Data []struct {
			ID   string
			Meta struct{ LlamaSwap struct{ Type string } }
		}
	}
	if err := s.client.get(ctx, path, &said); err != nil {
		return nil, err
	}
	if said.Data == nil {
		return nil, &nonsenseError{path, "without data"}
	}
	names := []string{}
	for i := range said.Data {
		switch m := &said.Data[i]; m.Meta.LlamaSwap.Type {
		case "", "model": // and no alias, peer, selector or profile
			names = append(names, m.ID)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *llamaSwapServer) resolve(ctx context.Context, models []string) ([]string, error) {
	names, err := s.present(ctx)
	if err != nil {
		return nil, err
	}
	return match(s.cfg, models, names, same)
}

func (s *llamaSwapServer) index(ctx context.Context, _ []string) (index, error) {
	const path = "/running"
	var said struct {
		Running []struct{ Model, State string }
	}
	if err := s.client.get(ctx, path, &said); err != nil {
		return nil, err
	}
	if said.Running == nil {
		return nil, &nonsenseError{path, "without running"}
	}
	found := index{}
	for _, m := range said.Running {
		e := entry{state: moving, said: s.client.clean(m.Model + " is " + m.State)}
		switch m.State {
		case "ready":
			e.state = resident
		case "stopped", "shutdown":
			e.state = absent
		}
		found[m.Model] = e
	}
	return found, nil
}

// load asks the model for its health. Whether the model's own server knows
// that path is left to the index: only what llama-swap itself says counts, and
// its failures to start a model are 5xx.
func (s *llamaSwapServer) load(ctx context.Context, key string, _ scheduler.Tier) error {
	err := s.client.do(ctx, request{method: http.MethodGet, path: "/upstream/" + escape(key, true) + "/health"})
	if e, ok := err.(*statusError); ok && e.status == http.StatusNotFound {
		return nil
	}
	return err
}

func (s *llamaSwapServer) unload(ctx context.Context, key string, _ bool) error {
	return s.client.post(ctx, "/api/models/unload/"+escape(key, true), nil, nil)
}

// chatRequest is a request to /v1/chat/completions. ignore_eos is llama.cpp's
// and vLLM's own; servers that do not know it may end an answer early.
type chatRequest struct {
	Model       string        `json:"model"`
	Messages    []chatMessage `json:"messages"`
	MaxTokens   int           `json:"max_tokens"`
	IgnoreEOS   bool          `json:"ignore_eos"`
	Seed        int64         `json:"seed"`
	Temperature float64       `json:"temperature"`
	Stream      bool          `json:"stream"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (s *llamaSwapServer) run(ctx context.Context, key string, items []scheduler.CommandItem) (scheduler.Time, error) {
	const path = "/v1/chat/completions"
	return each(ctx, items, func(ctx context.Context, item *scheduler.CommandItem) (scheduler.Time, error) {
		a := s.cfg.newAsk(item)
		var said struct {
			Choices []struct{}
			// Timings are llama.cpp's, in milliseconds.
			Timings struct {
				Prompt    float64 `json:"prompt_ms"`
				Predicted float64 `json:"predicted_ms"`
			}
		}
		err := s.client.post(ctx, path, chatRequest{Model: key, Messages: []chatMessage{{"user", a.prompt}},
			MaxTokens: a.output, IgnoreEOS: true, Seed: a.seed}, &said)
		switch ms := said.Timings.Prompt + said.Timings.Predicted; {
		case err != nil:
			return 0, err
		case len(said.Choices) == 0:
			return 0, &nonsenseError{path, "without choices"}
		default:
			return scheduler.Time(max(0, min(ms, 1e9)) * 1e6), nil
		}
	})
}
