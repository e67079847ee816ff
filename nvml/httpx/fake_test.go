package httpx_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/executortest"
	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

// fake is the device behind fake servers: what they hold, and what goes wrong.
// Each API is a handler over it.
type fake struct {
	t       testing.TB
	latency time.Duration
	memory  scheduler.Bytes            // of the device; 0: enough
	weights map[string]scheduler.Bytes // of the models that there are, by name on the server
	perItem map[string]scheduler.Bytes
	// evicts says that the server makes room by itself, as Ollama does; alone
	// that it has one model at a time, as llama-swap does by default.
	evicts, alone bool
	// refuses says that no batch loads its model. Else one that was given up
	// may, when it reaches the server after the model was evicted.
	refuses bool
	token   string
	// intercept, if not nil, may answer instead of the server.
	intercept func(http.ResponseWriter, *http.Request, string) bool

	mu       sync.Mutex
	held     scheduler.Bytes
	models   map[string]*fakeModel
	life     int       // how often it crashed
	down     time.Time // until then nobody is answered
	armed    executortest.Fault
	active   int // requests that are answered
	late     sync.WaitGroup
	requests []string // what was asked, in order
	bodies   []string
	servers  []*httptest.Server
}

// fakeModel is a model on the device.
type fakeModel struct {
	state   string // loading, ready, unloading
	users   int
	expired bool // leaves when nobody uses it
	used    int  // when last, for eviction
}

func newFake(t testing.TB, models ...scheduler.Model) *fake {
	f := &fake{t: t, latency: 20 * time.Microsecond, weights: map[string]scheduler.Bytes{}, perItem: map[string]scheduler.Bytes{}, models: map[string]*fakeModel{}}
	for i := range models {
		f.weights[models[i].Name], f.perItem[models[i].Name] = models[i].Bytes, models[i].Batch.Memory
	}
	return f
}

// listen opens a server with an API over the device and returns its URL.
func (f *fake) listen(api http.Handler) string {
	s := httptest.NewServer(f.around(api))
	f.t.Cleanup(s.Close)
	f.servers = append(f.servers, s)
	return s.URL
}

// around is what all APIs have in common.
func (f *fake) around(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		f.mu.Lock()
		if time.Now().Before(f.down) {
			f.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		life, intercept := f.life, f.intercept
		f.active++
		f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
		f.bodies = append(f.bodies, string(body))
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			f.active--
			f.mu.Unlock()
		}()
		if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
			refuse(w, http.StatusUnauthorized, "bad credentials: "+r.Header.Get("Authorization"))
			return
		}
		if intercept != nil && intercept(w, r, string(body)) {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		api.ServeHTTP(w, r)
		f.mu.Lock()
		defer f.mu.Unlock()
		if life != f.life {
			panic(http.ErrAbortHandler) // who crashed does not answer
		}
	})
}

// arm lets a fault happen at the next occasion; "" none.
func (f *fake) arm(fault executortest.Fault) {
	f.mu.Lock()
	f.armed = fault
	f.mu.Unlock()
}

// fires takes a fault of some kinds.
func (f *fake) fires(kinds ...executortest.Fault) executortest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.armed
	if !slices.Contains(kinds, fault) {
		return ""
	}
	f.armed = ""
	return fault
}

// let sets intercept while requests may still come.
func (f *fake) let(intercept func(http.ResponseWriter, *http.Request, string) bool) {
	f.mu.Lock()
	f.intercept = intercept
	f.mu.Unlock()
}

// effect is where loads, unloads and batches begin. It reports whether a fault
// happened instead.
func (f *fake) effect(w http.ResponseWriter, r *http.Request) bool {
	switch f.fires(executortest.Failure, executortest.Hang, executortest.Crash) {
	case executortest.Failure:
		refuse(w, http.StatusInternalServerError, "as the script says")
	case executortest.Hang:
		<-r.Context().Done()
	case executortest.Crash:
		f.crash()
	default:
		return false
	}
	return true
}

// crash loses what is on the device and breaks all connections off.
func (f *fake) crash() {
	f.mu.Lock()
	f.life++
	f.down = time.Now().Add(20 * time.Millisecond)
	f.held = 0
	clear(f.models)
	f.mu.Unlock()
	for _, s := range f.servers {
		f.late.Go(s.CloseClientConnections)
	}
	panic(http.ErrAbortHandler)
}

// tell answers with an index, or with nonsense if the script says so.
func (f *fake) tell(w http.ResponseWriter, index any) {
	switch f.fires(executortest.Garbage, executortest.HugeLine) {
	case executortest.Garbage:
		fmt.Fprint(w, "<html>It works!</html>")
	case executortest.HugeLine:
		for range 64 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	default:
		answer(w, index)
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers as Triton and Ollama do.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// refuseObject answers as vLLM and llama-swap do.
func refuseObject(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": text, "type": "InternalServerError", "code": status}})
}

// take reserves memory for a model that comes. The lock is held.
func (f *fake) take(name string, need scheduler.Bytes) bool {
	for f.memory > 0 && f.held+need > f.memory || f.alone && len(f.models) > 0 {
		if !f.evicts && !f.alone || !f.makeRoom(name) {
			return false
		}
	}
	f.held += need
	return true
}

// makeRoom evicts the idle model that was used longest ago. The lock is held.
func (f *fake) makeRoom(name string) bool {
	victim := ""
	for other, m := range f.models {
		if other != name && m.state == "ready" && m.users == 0 && (victim == "" || m.used < f.models[victim].used) {
			victim = other
		}
	}
	if victim == "" {
		return false
	}
	f.held -= f.weights[victim]
	delete(f.models, victim)
	return true
}

// load brings a model to the device, whether or not the client waits for it. It
// reports whether memory sufficed.
func (f *fake) load(name string) bool {
	f.mu.Lock()
	if m := f.models[name]; m != nil {
		m.expired = false
		f.mu.Unlock()
		return true
	}
	if !f.take(name, f.weights[name]) {
		f.mu.Unlock()
		return false
	}
	m, life := &fakeModel{state: "loading"}, f.life
	f.models[name] = m
	f.mu.Unlock()
	time.Sleep(f.latency)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life == life && m.state == "loading" {
		m.state = "ready"
	}
	return true
}

// unload makes a model leave once nobody uses it.
func (f *fake) unload(name string) {
	f.mu.Lock()
	m := f.models[name]
	if m == nil {
		f.mu.Unlock()
		return
	}
	m.expired = true
	f.mu.Unlock()
	f.leave(name, m)
}

// leave lets an expired model go.
func (f *fake) leave(name string, m *fakeModel) {
	f.mu.Lock()
	if f.models[name] != m || m.state != "ready" || m.users > 0 || !m.expired {
		f.mu.Unlock()
		return
	}
	m.state = "unloading"
	f.mu.Unlock()
	time.Sleep(f.latency)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.models[name] == m {
		f.held -= f.weights[name]
		delete(f.models, name)
	}
}

// use runs n items of a model that is ready. It returns why it cannot.
func (f *fake) use(r *http.Request, name string, n int) string {
	f.mu.Lock()
	m, life, need := f.models[name], f.life, scheduler.Bytes(n)*f.perItem[name]
	switch {
	case m == nil || m.state != "ready":
		f.mu.Unlock()
		return "model is not ready"
	case f.memory > 0 && f.held+need > f.memory:
		f.mu.Unlock()
		return "CUDA error: out of memory"
	}
	m.users++
	m.used = len(f.requests)
	f.held += need
	f.mu.Unlock()
	select {
	case <-time.After(f.latency):
	case <-r.Context().Done():
	}
	f.mu.Lock()
	m.users--
	if f.life == life {
		f.held -= need
	}
	f.mu.Unlock()
	f.leave(name, m)
	return ""
}

// state returns a model's, "" if it is not on the device.
func (f *fake) state(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.models[name]; m != nil {
		return m.state
	}
	return ""
}

// quiet waits until nothing is answered any more.
func (f *fake) quiet() error {
	for range 5000 {
		f.mu.Lock()
		active := f.active
		f.mu.Unlock()
		if active == 0 {
			f.late.Wait()
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("requests are still being answered")
}

// inUse returns the bytes on the device, once nothing moves.
func (f *fake) inUse() (scheduler.Bytes, error) {
	err := f.quiet()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held, err
}

// asked returns the requests so far and forgets them.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.requests
	f.requests, f.bodies = nil, nil
	return all
}

// triton is NVIDIA Triton with explicit model control, as the documents of its
// protocol say; models that were never loaded stand in the index without state.
func (f *fake) triton(configs map[string]string) http.Handler {
	mux := http.NewServeMux()
	var known sync.Map // that were loaded once
	mux.HandleFunc("GET /v2", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"name": "triton", "version": "2.60.0", "extensions": []string{"classification", "model_repository", "binary_tensor_data"}})
	})
	mux.HandleFunc("POST /v2/repository/index", func(w http.ResponseWriter, _ *http.Request) {
		index := []map[string]string{}
		for name := range f.weights {
			states := map[string]string{"": "UNAVAILABLE", "loading": "LOADING", "ready": "READY", "unloading": "UNLOADING"}
			e := map[string]string{"name": name}
			if _, once := known.Load(name); once {
				e["version"], e["state"] = "1", states[f.state(name)]
				if e["state"] == "UNAVAILABLE" {
					e["reason"] = "unloaded"
				}
			}
			index = append(index, e)
		}
		f.tell(w, index)
	})
	mux.HandleFunc("POST /v2/repository/models/{model}/{action}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("model")
		if f.effect(w, r) {
			return
		}
		if _, ok := f.weights[name]; !ok {
			refuse(w, http.StatusBadRequest, "failed to load '"+name+"', failed to poll from model repository")
			return
		}
		known.Store(name, true)
		switch r.PathValue("action") {
		case "load":
			if !f.load(name) {
				refuse(w, http.StatusBadRequest, "load failed for model '"+name+"': version 1 is at UNAVAILABLE state: Internal: CUDA error 2: out of memory;")
			}
		case "unload":
			f.late.Go(func() { f.unload(name) }) // the answer comes before the memory is back
		}
	})
	mux.HandleFunc("GET /v2/models/{model}/config", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("model")
		if f.state(name) != "ready" {
			refuse(w, http.StatusBadRequest, "Request for unknown model: '"+name+"' is not found")
			return
		}
		config := configs[name]
		if config == "" {
			config = tritonConfig
		}
		fmt.Fprint(w, config)
	})
	mux.HandleFunc("POST /v2/models/{model}/infer", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("model")
		if f.effect(w, r) {
			return
		}
		n, wrong := readInference(r)
		if wrong == "" {
			wrong = f.use(r, name, n)
		}
		if wrong != "" {
			refuse(w, http.StatusBadRequest, wrong)
			return
		}
		answer(w, map[string]any{"model_name": name, "outputs": []any{}})
	})
	return mux
}

const tritonConfig = `{"name":"m","platform":"onnxruntime_onnx","max_batch_size":4,"input":[
 {"name":"ids","data_type":"TYPE_INT64","dims":["-1"]},{"name":"pixels","data_type":"TYPE_FP16","dims":[3,2]},
 {"name":"extra","data_type":"TYPE_FP32","dims":[1],"optional":true}],"output":[{"name":"out","data_type":"TYPE_FP32","dims":[1]}]}`

// readInference returns how many rows a request in binary form has, or what is
// wrong with it.
func readInference(r *http.Request) (n int, wrong string) {
	body, _ := io.ReadAll(r.Body)
	var length int
	if _, err := fmt.Sscan(r.Header.Get("Inference-Header-Content-Length"), &length); err != nil || length > len(body) {
		return 0, "bad Inference-Header-Content-Length"
	}
	var head struct {
		Inputs []struct {
			Name, Datatype string
			Shape          []int
			Parameters     struct {
				Size int `json:"binary_data_size"`
			}
		}
	}
	if err := json.Unmarshal(body[:length], &head); err != nil {
		return 0, err.Error()
	}
	sizes := map[string]int{"INT64": 8, "FP16": 2, "FP32": 4, "UINT8": 1, "BYTES": 0}
	rest := len(body) - length
	for _, in := range head.Inputs {
		want := sizes[in.Datatype]
		for _, d := range in.Shape {
			want *= d
		}
		if want != 0 && want != in.Parameters.Size {
			return 0, fmt.Sprintf("input %s has %d bytes for its shape of %d", in.Name, in.Parameters.Size, want)
		}
		rest -= in.Parameters.Size
	}
	if rest != 0 || len(head.Inputs) == 0 {
		return 0, fmt.Sprintf("%d bytes that belong to no input", rest)
	}
	return head.Inputs[0].Shape[0], ""
}

// ollama is Ollama: it loads on demand, answers to unload before the memory is
// back, and evicts if evicts is set.
func (f *fake) ollama() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"version": "0.12.0"})
	})
	mux.HandleFunc("GET /api/tags", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		for name := range f.weights {
			list = append(list, map[string]any{"name": name, "model": name, "size": f.weights[name]})
		}
		answer(w, map[string]any{"models": list})
	})
	mux.HandleFunc("GET /api/ps", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		f.mu.Lock()
		for name := range f.models {
			list = append(list, map[string]any{"name": name, "model": name, "size": f.weights[name], "size_vram": f.weights[name], "context_length": 4096})
		}
		f.mu.Unlock()
		f.tell(w, map[string]any{"models": list})
	})
	mux.HandleFunc("POST /api/generate", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Model, Prompt string
			KeepAlive     *int `json:"keep_alive"`
			Stream        *bool
			Options       struct {
				NumPredict int `json:"num_predict"`
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || ask.Stream == nil || *ask.Stream {
			refuse(w, http.StatusBadRequest, "invalid request")
			return
		}
		if f.effect(w, r) {
			return
		}
		done := map[string]any{"model": ask.Model, "response": "", "done": true}
		if _, ok := f.weights[ask.Model]; !ok {
			refuse(w, http.StatusNotFound, "model \""+ask.Model+"\" not found, try pulling it first")
			return
		}
		if ask.Prompt == "" && ask.KeepAlive != nil && *ask.KeepAlive == 0 {
			f.late.Go(func() { f.unload(ask.Model) })
			done["done_reason"] = "unload"
			answer(w, done)
			return
		}
		if f.refuses && ask.Prompt != "" && f.state(ask.Model) == "" {
			refuse(w, http.StatusInternalServerError, "there was time enough to load it")
			return
		}
		if !f.load(ask.Model) {
			refuse(w, http.StatusInternalServerError, "llama runner process has terminated: cudaMalloc failed: out of memory")
			return
		}
		done["done_reason"] = "load"
		if ask.Prompt != "" {
			if wrong := f.use(r, ask.Model, 1); wrong != "" {
				refuse(w, http.StatusInternalServerError, wrong)
				return
			}
			done["done_reason"], done["eval_count"] = "length", ask.Options.NumPredict
			done["prompt_eval_duration"], done["eval_duration"] = 1000, 2000
		}
		answer(w, done)
	})
	return mux
}

// engine is a vLLM server in sleep mode: one model, whose weights are on the
// device, in host memory or nowhere, and whose cache sleeps or not.
type engine struct {
	f       *fake
	name    string
	mu      sync.Mutex
	weights string // device, empty (on the device, without content), host, dropped
	cache   bool
}

// vllm is the API of one engine. It begins asleep.
func (f *fake) vllm(name, served string) http.Handler {
	e := &engine{f: f, name: name, weights: "dropped"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"version": "0.14.0"}) })
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"object": "list", "data": []map[string]any{{"id": served, "object": "model", "parent": nil}, {"id": "adapter", "parent": served}}})
	})
	mux.HandleFunc("GET /is_sleeping", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		f.tell(w, map[string]bool{"is_sleeping": !e.awake()})
	})
	mux.HandleFunc("POST /sleep", func(w http.ResponseWriter, r *http.Request) {
		if !f.effect(w, r) {
			e.sleep(r.URL.Query().Get("level"))
		}
	})
	mux.HandleFunc("POST /wake_up", func(w http.ResponseWriter, r *http.Request) {
		if !f.effect(w, r) && !e.wake(r.URL.Query()["tags"]) {
			refuseObject(w, http.StatusInternalServerError, "Call to wake_up method failed: CUDA Error: out of memory at cumem_allocator.cpp:163")
		}
	})
	mux.HandleFunc("POST /collective_rpc", func(w http.ResponseWriter, r *http.Request) {
		if f.effect(w, r) {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.weights == "empty" {
			e.weights = "device"
		}
		answer(w, map[string]any{"results": []any{nil}})
	})
	mux.HandleFunc("POST /v1/completions", e.complete(served))
	return mux
}

// awake reports whether nothing sleeps. A crash put all to sleep for good: what
// restarts begins anew. The lock is held.
func (e *engine) awake() bool {
	if e.f.state(e.name) == "" && (e.weights == "device" || e.weights == "empty") {
		e.weights, e.cache = "dropped", false
	}
	return e.cache && (e.weights == "device" || e.weights == "empty")
}

func (e *engine) sleep(level string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.awake()
	switch {
	case e.weights == "device" && level == "1":
		e.weights = "host"
	case e.weights == "device" || e.weights == "empty":
		e.weights = "dropped"
	}
	e.cache = false
	e.f.unload(e.name)
}

func (e *engine) wake(tags []string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.awake()
	if tags == nil || slices.Contains(tags, "weights") {
		if !e.f.load(e.name) {
			return false
		}
		switch e.weights {
		case "host":
			e.weights = "device"
		case "dropped":
			e.weights = "empty"
		}
	}
	if tags == nil || slices.Contains(tags, "kv_cache") {
		e.cache = true
	}
	return true
}

func (e *engine) complete(served string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Model, Prompt string
			MaxTokens     int  `json:"max_tokens"`
			IgnoreEOS     bool `json:"ignore_eos"`
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || ask.Model != served || ask.Prompt == "" || !ask.IgnoreEOS {
			refuseObject(w, http.StatusBadRequest, "invalid request")
			return
		}
		if e.f.effect(w, r) {
			return
		}
		e.mu.Lock()
		awake, weights := e.awake(), e.weights
		e.mu.Unlock()
		if awake && weights == "empty" {
			e.f.t.Errorf("%s runs on weights that were never loaded", e.name)
		}
		if wrong := e.f.use(r, e.name, 1); wrong != "" {
			refuseObject(w, http.StatusInternalServerError, wrong)
			return
		}
		answer(w, map[string]any{"choices": []map[string]string{{"text": "a b c"}}, "usage": map[string]int{"completion_tokens": ask.MaxTokens}})
	}
}

// llamaSwap is llama-swap over models that all have llama.cpp's API. Requests
// start models; one stops others if alone is set.
func (f *fake) llamaSwap() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"version": "170", "commit": "abc", "build_date": "unknown"})
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{{"id": "alias", "meta": map[string]any{"llamaswap": map[string]any{"type": "alias"}}}}
		for name := range f.weights {
			list = append(list, map[string]any{"id": name, "object": "model", "meta": map[string]any{"llamaswap": map[string]any{"type": "model"}}})
		}
		answer(w, map[string]any{"object": "list", "data": list})
	})
	mux.HandleFunc("GET /running", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		f.mu.Lock()
		for name, m := range f.models {
			states := map[string]string{"loading": "starting", "ready": "ready", "unloading": "stopping"}
			list = append(list, map[string]any{"model": name, "state": states[m.state], "cmd": "llama-server", "ttl": 0})
		}
		f.mu.Unlock()
		f.tell(w, map[string]any{"running": list})
	})
	start := func(w http.ResponseWriter, r *http.Request, name string) bool {
		if f.effect(w, r) {
			return false
		}
		if _, ok := f.weights[name]; !ok {
			refuseObject(w, http.StatusNotFound, "model not found")
			return false
		}
		if !f.load(name) {
			refuseObject(w, http.StatusBadGateway, "unable to start process: upstream command exited prematurely: ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")
			return false
		}
		return true
	}
	mux.HandleFunc("GET /upstream/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(r.PathValue("rest"), "/health")
		if !ok {
			refuseObject(w, http.StatusNotFound, "model not found")
			return
		}
		if start(w, r, name) {
			answer(w, map[string]string{"status": "ok"})
		}
	})
	mux.HandleFunc("POST /api/models/unload/{model...}", func(w http.ResponseWriter, r *http.Request) {
		if f.effect(w, r) {
			return
		}
		f.unload(r.PathValue("model"))
		fmt.Fprint(w, "OK")
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Model    string
			Messages []struct{ Role, Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Messages) != 1 {
			refuseObject(w, http.StatusBadRequest, "invalid request")
			return
		}
		if f.refuses && f.state(ask.Model) == "" {
			refuseObject(w, http.StatusInternalServerError, "there was time enough to load it")
			return
		}
		if !start(w, r, ask.Model) {
			return
		}
		if wrong := f.use(r, ask.Model, 1); wrong != "" {
			refuseObject(w, http.StatusInternalServerError, wrong)
			return
		}
		answer(w, map[string]any{"choices": []any{map[string]any{"index": 0}}, "timings": map[string]any{"prompt_ms": 1.5, "predicted_ms": 2.5}})
	})
	return mux
}

// serve opens the fake servers of a kind and returns a configuration for them.
func (f *fake) serve(kind httpx.Kind) httpx.Config {
	cfg := httpx.Config{Prompt: 8, Output: 4, MaxBody: 64 << 10}
	switch kind {
	case httpx.Triton:
		cfg.Servers = []httpx.Server{{Kind: kind, URL: f.listen(f.triton(nil))}}
	case httpx.Ollama:
		cfg.Servers = []httpx.Server{{Kind: kind, URL: f.listen(f.ollama())}}
	case httpx.LlamaSwap:
		cfg.Servers = []httpx.Server{{Kind: kind, URL: f.listen(f.llamaSwap())}}
	case httpx.VLLM:
		for name := range f.weights {
			cfg.Servers = append(cfg.Servers, httpx.Server{Kind: kind, Model: name, URL: f.listen(f.vllm(name, "org/"+name))})
		}
	}
	return cfg
}

// said returns the bodies of the requests of a kind so far, and forgets all.
func (f *fake) said(request string) (bodies []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.requests {
		if r == request {
			bodies = append(bodies, f.bodies[i])
		}
	}
	f.requests, f.bodies = nil, nil
	return bodies
}
