package httpx

import (
	"context"
	"errors"
	"slices"
)

// Report is what there is at the other end.
type Report struct {
	Kind        Kind
	ObserveOnly bool
	Version     string
	Models      []ModelReport // those that were asked for, in their order
	// Present are the names of all models that can be loaded there; for VLLM
	// the models that have a server.
	Present []string
	// Others are the names of resident models that were not asked for: they
	// hold memory.
	Others []string
}

// ModelReport is what there is of one model.
type ModelReport struct {
	Model    string // in the experiment
	Name     string // on the server
	Present  bool
	Nearest  string // the nearest name, if it is not present and one is near
	Resident bool
	Said     string // by the index
}

// Check looks at a server and changes nothing: does it answer, what is it,
// which of the models has it, and which are resident. With nil for models it
// looks at all that are present. It returns the error of a configuration that
// is wrong, or why the server does not answer as its kind does.
func Check(ctx context.Context, cfg Config, models []string) (Report, error) {
	if err := cfg.fill(); err != nil {
		return Report{}, err
	}
	s, err := newServer(&cfg)
	if err != nil {
		return Report{}, err
	}
	r := Report{Kind: cfg.Servers[0].Kind, ObserveOnly: cfg.Servers[0].Kind.ObserveOnly()}
	if r.Version, err = s.version(ctx); err != nil {
		return r, err
	}
	if r.Present, err = s.present(ctx); err != nil {
		return r, err
	}
	if models == nil {
		models = r.Present
	}
	keys := make([]string, 0, len(models))
	for _, model := range models {
		m, key, err := look(ctx, s, &cfg, model)
		if err != nil {
			return r, err
		}
		r.Models = append(r.Models, m)
		keys = append(keys, key)
	}
	return r, r.ask(ctx, s, keys)
}

// look finds one model; its key is "" if it is not present.
func look(ctx context.Context, s server, cfg *Config, model string) (ModelReport, string, error) {
	m := ModelReport{Model: model, Name: cfg.nameOf(model)}
	keys, err := s.resolve(ctx, []string{model})
	if missing, ok := errors.AsType[*MissingError](err); ok {
		m.Nearest = missing.Missing[0].Nearest
		return m, "", nil
	}
	if err != nil {
		return m, "", err
	}
	m.Present = true
	return m, keys[0], nil
}

// ask fills in what the index says.
func (r *Report) ask(ctx context.Context, s server, keys []string) error {
	known := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == "" })
	found, err := s.index(ctx, known)
	if err != nil {
		return err
	}
	for i, key := range keys {
		if key != "" {
			e := found.of(key)
			r.Models[i].Resident, r.Models[i].Said = e.state == resident, e.said
		}
	}
	for key, e := range found {
		if e.state != absent && !slices.Contains(known, key) {
			r.Others = append(r.Others, key)
		}
	}
	slices.Sort(r.Others)
	return nil
}
