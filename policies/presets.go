package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// presets are compositions named after systems whose scheduling they come
// nearest to. What they do otherwise is said of each.
func presets() []Entry {
	flag := func(names ...string) map[string]any {
		params := map[string]any{}
		for _, name := range names {
			params[name] = true
		}
		return params
	}
	with := func(name string, params ...any) Axis {
		a := Axis{Name: name, Params: map[string]any{}}
		for i := 0; i < len(params); i += 2 {
			a.Params[params[i].(string)] = params[i+1]
		}
		return a
	}
	list := []Entry{
		{Name: "ollama", Source: "ollama/ollama",
			Preset:     Spec{Use: "fifo", Params: flag("bypass"), Evict: with("keep-alive", "max", int64(3)), Place: Axis{Name: "most-free"}, Admit: with("queue-cap", "items", int64(512))},
			Deviations: "one queue of 512 for all models, 3 models for each GPU all GPUs taken together, one load at a time over all GPUs, what does not fit is split over GPUs and CPU"},
		{Name: "llama-swap-group", Source: "mostlygeek/llama-swap",
			Preset:     Spec{Use: "fifo", Params: flag("skip", "bypass"), Evict: Axis{Name: "groups"}},
			Deviations: "only groups say who is loaded, memory does not; requests for what is loaded are passed on at once"},
		{Name: "llama-swap-matrix", Source: "mostlygeek/llama-swap",
			Preset:     Spec{Use: "fifo", Params: flag("skip", "bypass"), Evict: Axis{Name: "matrix"}},
			Deviations: "only sets say who is loaded, memory does not; requests for what is loaded are passed on at once"},
		{Name: "llama-swap-612", Source: "mostlygeek/llama-swap#612",
			Preset:     Spec{Use: "max-wait", Visit: Axis{Name: "residency"}},
			Deviations: "a proposal; llama-swap itself serves in order of arrival"},
		{Name: "triton", Source: "triton-inference-server/core",
			Preset:     Spec{Use: "wfq", Params: flag("turns"), Batch: Axis{Name: "delay"}},
			Deviations: "models are loaded when the operator says so, priorities are of instances, a delay of 0 unless configured"},
		{Name: "modelmesh", Source: "kserve/modelmesh",
			Preset:     Spec{Use: "fifo", Params: flag("skip"), Place: Axis{Name: "lru-age"}},
			Deviations: "copies of a model are added by its rate of requests; instances are JVMs with caches, not GPUs"},
		{Name: "llama-cpp", Source: "ggml-org/llama.cpp",
			Preset:     Spec{Use: "fifo", Params: flag("skip"), Evict: with("count", "max", int64(4))},
			Deviations: "memory is not looked at; requests for a loaded model share its slots"},
		{Name: "localai", Source: "mudler/LocalAI",
			Preset:     Spec{Use: "fifo", Params: flag("skip"), Evict: Axis{Name: "largest"}},
			Deviations: "a watchdog looks at the memory from time to time instead of a ledger"},
		{Name: "ray", Source: "ray-project/ray",
			Preset:     Spec{Use: "fifo", Evict: Axis{Name: "count"}},
			Deviations: "memory is not looked at; replicas, which are scaled, prefer requests for models that they hold"},
		{Name: "serverless-llm", Source: "ServerlessLLM/ServerlessLLM",
			Preset:     Spec{Use: "fifo"},
			Deviations: "running inference migrates between servers to make room"},
		{Name: "alpaserve", Source: "arXiv 2302.11665",
			Preset:     Spec{Use: "fifo", Place: Axis{Name: "planned"}, Admit: Axis{Name: "deadline"}},
			Deviations: "models stay where they are placed and are cut into stages over GPUs; its search for the placement is not here"},
		{Name: "muxserve", Source: "arXiv 2404.02015",
			Preset:     Spec{Use: "polling", Visit: Axis{Name: "limited"}},
			Deviations: "models share the processors of a GPU at one time, by quotas of cache"},
		{Name: "prism", Source: "arXiv 2505.04021",
			Preset:     Spec{Use: "edf-setup", Evict: with("ttl", "idle", "50s")},
			Deviations: "memory of the caches moves between models; models are placed anew by pressure of memory"},
		{Name: "llmux-fifo", Source: "doublewordai/llmux 18d8c72",
			Preset:     Spec{Use: "fifo", Visit: with("residency", "factor", int64(0)), Evict: Axis{Name: "single"}},
			Deviations: "requests for the model that is awake are passed on at once"},
		{Name: "llmux-cost-aware", Source: "doublewordai/llmux 18d8c72",
			Preset:     Spec{Use: "cost-aware", Evict: Axis{Name: "single"}},
			Deviations: "requests for the model that is awake are passed on at once; costs are kept in milliseconds"},
		{Name: "llmux-time-slice", Source: "doublewordai/llmux 18d8c72",
			Preset:     Spec{Use: "time-slice", Evict: Axis{Name: "single"}},
			Deviations: "requests for the model that is awake are passed on at once; whether it is idle is looked at twice a second, whether another has waited too long when a request arrives"},
	}
	for i := range list {
		list[i].Kind, list[i].Contracts, list[i].Doc = KindPreset, "as composed", list[i].Preset.compose()
	}
	return list
}

// over returns the preset with what spec says instead: a key given replaces the
// preset's, and of parameters for the same name each one.
func (preset Spec) over(spec Spec) Spec {
	out := preset
	out.As = spec.name()
	out.Params = overlay(preset.Params, spec.Params)
	for _, k := range axes {
		own, given := preset.axis(k), spec.axis(k)
		switch {
		case given.Name == "":
		case given.Name == own.Name:
			out.axis(k).Params = overlay(own.Params, given.Params)
		default:
			*out.axis(k) = *given
		}
	}
	if spec.Pin != nil {
		out.Pin = spec.Pin
	}
	return out
}

func overlay(under, over map[string]any) map[string]any {
	if len(under) == 0 {
		return over
	}
	out := maps.Clone(under)
	maps.Copy(out, over)
	return out
}

// compose spells what spec gives as an experiment would.
func (spec *Spec) compose() string {
	keys := []string{"use: " + spec.Use}
	if len(spec.Params) > 0 {
		keys = append(keys, "params: "+braces(spec.Params))
	}
	for _, k := range axes {
		switch a := spec.axis(k); {
		case a.Name == "":
		case len(a.Params) == 0:
			keys = append(keys, string(k)+": "+a.Name)
		default:
			keys = append(keys, string(k)+": {"+a.Name+": "+braces(a.Params)+"}")
		}
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

func braces(params map[string]any) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, fmt.Sprintf("%s: %v", name, params[name]))
	}
	return "{" + strings.Join(list, ", ") + "}"
}
