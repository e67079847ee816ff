package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/vramsim/vramsim/scheduler"
)

// tritonServer speaks the API of NVIDIA Triton, started with
// --model-control-mode=explicit: the KServe protocol with the extensions of
// https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_model_repository.html
// (load, unload, index), extension_model_configuration (what inputs a model
// wants) and extension_binary_data (tensors after the JSON, the only way for
// FP16 and BF16).
//
// A batch is one request if the model batches, as many as its max_batch_size
// makes necessary, or a request for each item if it does not (max_batch_size
// 0), one after another: Triton has no say in what vramsim batched.
type tritonServer struct {
	client *client
	cfg    *Config

	mu      sync.Mutex
	configs map[string]*tritonConfig
}

func (s *tritonServer) version(ctx context.Context) (string, error) {
	var said struct {
		Name, Version string
		Extensions    []string
	}
	if err := s.client.get(ctx, "/v2", &said); err != nil {
		return "", err
	}
	switch {
	case said.Name == "":
		return "", &nonsenseError{"/v2", "without a name"}
	case !slices.Contains(said.Extensions, "model_repository") || !slices.Contains(said.Extensions, "binary_tensor_data"):
		return "", &nonsenseError{"/v2", "that it lacks the extensions model_repository or binary_tensor_data"}
	}
	return s.client.clean(said.Name + " " + said.Version), nil
}

// tritonModel is an entry of the index: one version of a model. Models that
// were never loaded have neither version nor state.
type tritonModel struct{ Name, Version, State, Reason string }

func (s *tritonServer) repository(ctx context.Context) ([]tritonModel, error) {
	const path = "/v2/repository/index"
	var said []tritonModel
	if err := s.client.post(ctx, path, struct{}{}, &said); err != nil {
		return nil, err
	}
	if said == nil || slices.ContainsFunc(said, func(m tritonModel) bool { return m.Name == "" }) {
		return nil, &nonsenseError{path, "no list of models with names"}
	}
	return said, nil
}

func (s *tritonServer) present(ctx context.Context) ([]string, error) {
	said, err := s.repository(ctx)
	names := []string{}
	for i := range said {
		if !slices.Contains(names, said[i].Name) {
			names = append(names, said[i].Name)
		}
	}
	slices.Sort(names)
	return names, err
}

func (s *tritonServer) resolve(ctx context.Context, models []string) ([]string, error) {
	names, err := s.present(ctx)
	if err != nil {
		return nil, err
	}
	return match(s.cfg, models, names, same)
}

// index joins the versions of each model: it is resident if one of them is,
// moving if one of them is on its way.
func (s *tritonServer) index(ctx context.Context, _ []string) (index, error) {
	said, err := s.repository(ctx)
	if err != nil {
		return nil, err
	}
	found := index{}
	for _, m := range said {
		said := fmt.Sprintf("%s is %s", m.Name, m.State)
		if m.State == "" {
			said = m.Name + " is not loaded"
		}
		if m.Reason != "" {
			said += " (" + m.Reason + ")"
		}
		e := entry{said: s.client.clean(said)}
		switch m.State {
		case "READY":
			e.state = resident
		case "LOADING", "UNLOADING":
			e.state = moving
		}
		if before, ok := found[m.Name]; !ok || e.state > before.state {
			found[m.Name] = e
		}
	}
	return found, nil
}

func (s *tritonServer) load(ctx context.Context, key string, _ scheduler.Tier) error {
	if err := s.client.post(ctx, "/v2/repository/models/"+escape(key, false)+"/load", struct{}{}, nil); err != nil {
		return err
	}
	_, err := s.config(ctx, key) // here, so that no batch waits for it
	return err
}

func (s *tritonServer) unload(ctx context.Context, key string, _ bool) error {
	return s.client.post(ctx, "/v2/repository/models/"+escape(key, false)+"/unload", struct{}{}, nil)
}

// config returns a model's configuration, which Triton tells only of loaded
// models and which stays what it is.
func (s *tritonServer) config(ctx context.Context, key string) (*tritonConfig, error) {
	s.mu.Lock()
	known := s.configs[key]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	path := "/v2/models/" + escape(key, false) + "/config"
	c := &tritonConfig{}
	if err := s.client.get(ctx, path, c); err != nil {
		return nil, err
	}
	if what := c.check(); what != "" {
		return nil, &scheduler.CommandError{Text: fmt.Sprintf("model %s: %s", key, what)}
	}
	s.mu.Lock()
	s.configs[key] = c
	s.mu.Unlock()
	return c, nil
}

func (s *tritonServer) run(ctx context.Context, key string, items []scheduler.CommandItem) (scheduler.Time, error) {
	c, err := s.config(ctx, key)
	if err != nil {
		return 0, err
	}
	for chunk := range slices.Chunk(items, max(1, int(c.MaxBatch))) {
		if err := s.infer(ctx, key, c, chunk); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// inferRequest is the JSON of an inference request, before its tensors.
type inferRequest struct {
	Inputs     []inferInput    `json:"inputs"`
	Parameters map[string]bool `json:"parameters"`
}

type inferInput struct {
	Name       string         `json:"name"`
	Shape      []int64        `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]int `json:"parameters"`
}

// infer sends one request. What comes out is not looked at.
func (s *tritonServer) infer(ctx context.Context, key string, c *tritonConfig, items []scheduler.CommandItem) error {
	head := inferRequest{Parameters: map[string]bool{"binary_data_output": true}}
	var tensors bytes.Buffer
	for i := range c.Input {
		in := &c.Input[i]
		if in.Optional {
			continue
		}
		shape := c.shape(in, s.cfg.Prompt, items)
		before := tensors.Len()
		if err := s.cfg.fillTensor(&tensors, in.kind(), shape, c.MaxBatch > 0, items); err != nil {
			return &scheduler.CommandError{Text: fmt.Sprintf("input %s of model %s: %v", in.Name, key, err)}
		}
		head.Inputs = append(head.Inputs, inferInput{Name: in.Name, Shape: shape, Datatype: in.kind(),
			Parameters: map[string]int{"binary_data_size": tensors.Len() - before}})
	}
	text, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("bug: %w", err)
	}
	return s.client.do(ctx, request{method: http.MethodPost, path: "/v2/models/" + escape(key, false) + "/infer",
		body: append(text, tensors.Bytes()...), kind: "application/octet-stream",
		header: map[string]string{"Inference-Header-Content-Length": strconv.Itoa(len(text))}})
}
