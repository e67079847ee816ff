package httpx_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vramsim/vramsim/nvml/httpx"
	"github.com/vramsim/vramsim/scheduler"
)

func TestTriton(t *testing.T) {
	f := newFake(t, model("a", 4*mib), model("b", 4*mib))
	s := open(t, f.serve(httpx.Triton), false, model("a", 4*mib))
	expect(t, f, `GET /v2
		POST /v2/repository/index`)
	s.fine(s.load(0, scheduler.TierDisk))
	expect(t, f, `POST /v2/repository/models/a/load
		GET /v2/models/a/config
		POST /v2/repository/index`)
	o := s.fine(s.run(0, 6)) // of a model that takes 4 at a time
	if len(o.Phases) != 2 || o.Phases[0].Took <= 0 {
		t.Errorf("phases %v", o.Phases)
	}
	f.mu.Lock()
	for i, size := range []string{`"shape":[4,8]`, `"shape":[2,8]`} { // ids as long as the prompt, -1 in the configuration
		if !strings.Contains(f.bodies[i], size) || !strings.Contains(f.bodies[i], `"binary_data_output":true`) || strings.Contains(f.bodies[i], "extra") {
			t.Errorf("inference %d: %.200q", i, f.bodies[i])
		}
	}
	f.mu.Unlock()
	if got := f.asked(); len(got) != 3 || got[1] != "POST /v2/models/a/infer" {
		t.Errorf("a batch of 6 asked %q", got)
	}
	s.fine(s.evict(0))
	expect(t, f, `POST /v2/repository/models/a/unload
		POST /v2/repository/index`)
	if held, err := f.inUse(); held != 0 || err != nil {
		t.Errorf("%v are held when the eviction is done (%v)", held, err)
	}
	if s.e.ObserveOnly() || s.e.Version() != "triton 2.60.0" {
		t.Errorf("observe-only %v, version %q", s.e.ObserveOnly(), s.e.Version())
	}
}

// TestTritonModelsThatCannotRun: what no inputs can be made up for fails to
// load, says why, and is unloaded again.
func TestTritonModelsThatCannotRun(t *testing.T) {
	for config, why := range map[string]string{
		`{"max_batch_size":0,"sequence_batching":{},"input":[]}`:                                        "sequences",
		`{"model_transaction_policy":{"decoupled":true},"input":[]}`:                                    "decoupled",
		`{"max_batch_size":-1,"input":[]}`:                                                              "max_batch_size",
		`{"input":[{"name":"x","data_type":"TYPE_NEW","dims":[1]}]}`:                                    `"TYPE_NEW"`,
		`{"input":[{"name":"x","data_type":"TYPE_FP32","dims":[0]}]}`:                                   "dimension 0",
		`{"input":[{"name":"x","data_type":"TYPE_FP32","dims":[9223372036854775807,"4611686018427"]}]}`: "",
	} {
		f := newFake(t, model("a", 4*mib))
		cfg := httpx.Config{Servers: []httpx.Server{{Kind: httpx.Triton, URL: f.listen(f.triton(map[string]string{"a": config}))}}}
		s := open(t, cfg, false, model("a", 4*mib))
		if why == "" { // fits no memory: fails when it is to run
			s.fine(s.load(0, scheduler.TierDisk))
			s.fails(s.run(0, 1), scheduler.FailureUnknown, "input x of model a", "more than")
			continue
		}
		s.fails(s.load(0, scheduler.TierDisk), scheduler.FailureUnknown, "model a", why)
		if held, _ := f.inUse(); held != 0 {
			t.Errorf("%s: %v are held after the load failed", why, held)
		}
	}
}

// TestTritonWithoutBatching: a model that does not batch gets its items one
// after another.
func TestTritonWithoutBatching(t *testing.T) {
	f := newFake(t, model("a", mib))
	config := `{"max_batch_size":0,"input":[{"name":"text","data_type":"TYPE_STRING","dims":[1]},{"name":"image","data_type":"TYPE_UINT8","dims":[2,2,3]}]}`
	s := open(t, httpx.Config{Servers: []httpx.Server{{Kind: httpx.Triton, URL: f.listen(f.triton(map[string]string{"a": config}))}}}, false, model("a", mib))
	s.fine(s.load(0, scheduler.TierDisk))
	f.asked()
	s.fine(s.run(0, 3))
	if got := f.asked(); len(got) != 4 || got[2] != "POST /v2/models/a/infer" {
		t.Errorf("3 items asked %q", got)
	}
}

func TestOllama(t *testing.T) {
	f := newFake(t, model("a:latest", 4*mib), model("org/b:7b", 4*mib))
	cfg := f.serve(httpx.Ollama)
	cfg.Names = map[string]string{"b": "org/b:7b"}
	s := open(t, cfg, true, model("a", 4*mib), model("b", 4*mib))
	expect(t, f, `GET /api/version
		GET /api/tags
		GET /api/ps`)
	o := s.fine(s.load(0, scheduler.TierDisk))
	if o.Memory.Allocated != 4*mib || o.Bytes != 4*mib {
		t.Errorf("after the load %v are allocated, %v were loaded", o.Memory.Allocated, o.Bytes)
	}
	bodies := f.said("POST /api/generate")
	if len(bodies) != 1 || bodies[0] != `{"model":"a:latest","stream":false,"keep_alive":-1}` {
		t.Errorf("the load said %q", bodies)
	}
	o = s.fine(s.run(0, 2))
	if o.DeviceTime != 3000 {
		t.Errorf("the device was busy for %v of 3us", o.DeviceTime)
	}
	bodies = f.said("POST /api/generate")
	if len(bodies) != 2 || bodies[0] == bodies[1] || !strings.Contains(bodies[0], `"raw":true`) || !strings.Contains(bodies[0], `"num_predict":4`) {
		t.Errorf("the batch said %q", bodies)
	}
	s.fine(s.load(1, scheduler.TierHost))
	f.said("")
	s.fine(s.evict(0))
	if bodies = f.said("POST /api/generate"); len(bodies) != 1 || bodies[0] != `{"model":"a:latest","stream":false,"keep_alive":0}` {
		t.Errorf("the eviction said %q", bodies)
	}
	if held, _ := f.inUse(); held != 4*mib {
		t.Errorf("%v are held when a is evicted and b is not", held)
	}
	if !s.e.ObserveOnly() || s.e.Moves() != 0 {
		t.Errorf("observe-only %v, %d moves", s.e.ObserveOnly(), s.e.Moves())
	}
}

// TestOllamaEvictsUnasked: the run goes on, and the moves are counted.
func TestOllamaEvictsUnasked(t *testing.T) {
	a, b := model("a:1", 4*mib), model("b:1", 4*mib)
	f := newFake(t, a, b)
	f.memory, f.evicts = 6*mib, true
	s := open(t, f.serve(httpx.Ollama), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	s.fine(s.load(1, scheduler.TierDisk)) // which a has to leave for
	if s.e.Moves() != 1 {
		t.Errorf("%d moves when a was evicted", s.e.Moves())
	}
	s.fine(s.run(0, 1)) // and comes back, b leaves
	if s.e.Moves() != 3 {
		t.Errorf("%d moves when a came back for b", s.e.Moves())
	}
	s.fine(s.evict(1)) // it is gone already
	if s.e.Moves() != 3 || f.state("a:1") != "ready" {
		t.Errorf("%d moves, a is %q", s.e.Moves(), f.state("a:1"))
	}
}

func TestLlamaSwap(t *testing.T) {
	a, b := model("a", 4*mib), model("org/b q4", 4*mib)
	f := newFake(t, a, b)
	f.alone = true
	s := open(t, f.serve(httpx.LlamaSwap), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	f.asked()
	s.fine(s.load(1, scheduler.TierDisk))
	expect(t, f, `GET /upstream/org/b%20q4/health
		GET /running`)
	if o := s.fine(s.run(1, 2)); o.DeviceTime != 4*scheduler.Millisecond {
		t.Errorf("the device was busy for %v of 4ms", o.DeviceTime)
	}
	f.asked()
	if s.e.Moves() != 1 || !s.e.ObserveOnly() {
		t.Errorf("%d moves where a left for b", s.e.Moves())
	}
	s.fine(s.evict(1))
	expect(t, f, `POST /api/models/unload/org/b%20q4
		GET /running`)
}

// TestVLLM: loads from disk and from the host are different things, and so are
// evictions that keep weights in host memory and others.
func TestVLLM(t *testing.T) {
	a, b := model("a", 4*mib), model("b", 4*mib)
	f := newFake(t, a, b)
	s := open(t, f.serve(httpx.VLLM), true, a, b)
	f.asked()
	s.fine(s.load(0, scheduler.TierDisk))
	expect(t, f, `POST /wake_up?tags=weights
		POST /collective_rpc
		POST /wake_up?tags=kv_cache
		GET /is_sleeping`)
	s.fine(s.run(0, 3))
	if bodies := f.said("POST /v1/completions"); len(bodies) != 3 || !strings.Contains(bodies[0], `"model":"org/a"`) ||
		!strings.Contains(bodies[0], `"max_tokens":4,"ignore_eos":true`) {
		t.Errorf("the batch said %q", bodies)
	}
	s.fine(s.evict(0))
	expect(t, f, `POST /sleep?level=1
		GET /is_sleeping`)
	s.fine(s.load(0, scheduler.TierHost))
	expect(t, f, `POST /wake_up
		GET /is_sleeping`)
	s.fine(s.run(0, 1))                   // on weights that the fake has checked
	s.fine(s.load(1, scheduler.TierHost)) // which never slept warm: as from disk
	s.fine(s.run(1, 1))
	f.asked()
	s.close()
	for _, r := range f.asked() {
		if strings.HasPrefix(r, "POST") && r != "POST /sleep?level=2" {
			t.Errorf("close asked %s", r)
		}
	}
	if held, _ := f.inUse(); held != 0 {
		t.Errorf("%v are held after Close", held)
	}
}

// TestVLLMWithoutHostTier: nothing is kept in host memory.
func TestVLLMWithoutHostTier(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.VLLM), false, a)
	s.fine(s.load(0, scheduler.TierDisk))
	f.asked()
	s.fine(s.evict(0))
	expect(t, f, `POST /sleep?level=2
		GET /is_sleeping`)
}

// TestVLLMHalfAwake: when there is memory for the weights but none for the
// cache, the weights are put to sleep again.
func TestVLLMHalfAwake(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.VLLM), false, a)
	f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.RawQuery != "tags=kv_cache" {
			return false
		}
		refuseObject(w, http.StatusInternalServerError, "Call to wake_up method failed: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62")
		return true
	}
	s.fails(s.load(0, scheduler.TierDisk), scheduler.FailureOOM, "/wake_up?tags=kv_cache", "out of memory")
	if held, _ := f.inUse(); held != 0 {
		t.Errorf("%v are held after a load that failed", held)
	}
}

// TestVLLMGeneratesTooLittle: fewer tokens are less work, not a result.
func TestVLLMGeneratesTooLittle(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.VLLM), false, a)
	s.fine(s.load(0, scheduler.TierDisk))
	f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Path != "/v1/completions" {
			return false
		}
		answer(w, map[string]any{"choices": []any{map[string]any{}}, "usage": map[string]int{"completion_tokens": 3}})
		return true
	}
	s.fails(s.run(0, 1), scheduler.FailureUnknown, "3 tokens", "4 were asked for")
}

// TestVLLMWithoutSleepMode: the error says what to start it with.
func TestVLLMWithoutSleepMode(t *testing.T) {
	f := newFake(t, model("a", mib))
	f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Path != "/is_sleeping" {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"detail":"Not Found"}`))
		return true
	}
	e, err := httpx.New(f.serve(httpx.VLLM))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Open(bounded(t), scheduler.Plan{Models: []scheduler.Model{model("a", mib)}})
	if err == nil || !strings.Contains(err.Error(), "VLLM_SERVER_DEV_MODE=1") || !strings.Contains(err.Error(), "Not Found") {
		t.Errorf("open: %v", err)
	}
	if err := e.Close(bounded(t)); err == nil {
		t.Error("close cannot tell whether anything is left, and does not say so")
	}
}

// TestOpenUnloadsWhatIsResident, and leaves alone what is not of the plan.
func TestOpenUnloadsWhatIsResident(t *testing.T) {
	for _, kind := range []httpx.Kind{httpx.Triton, httpx.Ollama, httpx.LlamaSwap} {
		a, b := model("a:1", 4*mib), model("b:1", 4*mib)
		f := newFake(t, a, b)
		cfg := f.serve(kind)
		before := open(t, cfg, false, a, b)
		before.fine(before.load(0, scheduler.TierDisk))
		before.fine(before.load(1, scheduler.TierDisk))
		s := open(t, cfg, false, a)
		if f.state("a:1") != "" || f.state("b:1") != "ready" {
			t.Errorf("%s: a is %q, b is %q", kind, f.state("a:1"), f.state("b:1"))
		}
		s.fine(s.load(0, scheduler.TierDisk))
	}
}

// TestIndexDisagrees: an effect that the index denies has failed, and the text
// says what it said.
func TestIndexDisagrees(t *testing.T) {
	a := model("a", 4*mib)
	f := newFake(t, a)
	cfg := f.serve(httpx.Triton)
	cfg.UnloadTimeout = 2 * time.Second // in which a busy machine answers, too
	s := open(t, cfg, false, a)
	says := ""
	f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if says == "" || r.URL.Path != "/v2/repository/index" {
			return false
		}
		answer(w, []map[string]string{{"name": "a", "version": "1", "state": says, "reason": "as it likes"}})
		return true
	}
	says = "UNAVAILABLE"
	s.fails(s.load(0, scheduler.TierDisk), scheduler.FailureUnknown, "load of a is done", "a is UNAVAILABLE (as it likes)")
	s.fails(s.run(0, 1), scheduler.FailureUnknown, "not loaded")
	says = ""
	s.fine(s.load(0, scheduler.TierDisk))
	says = "READY"
	s.fails(s.evict(0), scheduler.FailureUnknown, "evict of a is done", "a is READY (as it likes)")
	says = "UNLOADING"
	s.fails(s.do(scheduler.Command{Op: scheduler.OpEvict}), scheduler.FailureLost, "unknown", "timed out after 2s")
	says = ""
	if err := s.e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	s.fine(s.load(0, scheduler.TierDisk))
	says = "UNAVAILABLE"
	s.fails(s.run(0, 1), scheduler.FailureUnknown, "run of a is done", "a is UNAVAILABLE")
	says = ""
}

// TestRefusedEffects: what a server says no to may have happened all the same.
func TestRefusedEffects(t *testing.T) {
	a := model("a:latest", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.Ollama), false, a)
	f.intercept = func(w http.ResponseWriter, r *http.Request, body string) bool {
		if r.URL.Path != "/api/generate" || !strings.Contains(body, `"keep_alive":-1`) {
			return false
		}
		f.load("a:latest")
		refuse(w, http.StatusServiceUnavailable, "server busy")
		return true
	}
	o := s.load(0, scheduler.TierDisk)
	s.fails(o, scheduler.FailureUnknown, "/api/generate answered 503: server busy")
	if !o.Failure.Retryable {
		t.Error("a busy server is no reason to try again")
	}
	if held, _ := f.inUse(); held != 0 {
		t.Errorf("%v are held after a load that failed", held)
	}
	f.let(nil)
	s.fine(s.load(0, scheduler.TierDisk))
	f.intercept = func(w http.ResponseWriter, r *http.Request, body string) bool {
		if r.URL.Path != "/api/generate" {
			return false
		}
		f.unload("a:latest")
		refuse(w, http.StatusInternalServerError, "cannot tell you")
		return true
	}
	s.fine(s.evict(0)) // the index says that it is gone
	f.let(nil)
}

// TestOutOfMemory recognises what servers say.
func TestOutOfMemory(t *testing.T) {
	for text, code := range map[string]scheduler.Failure{
		"llama runner process has terminated: cudaMalloc failed: out of memory":                                             scheduler.FailureOOM,
		"model requires more system memory (8.4 GiB) than is available (3.1 GiB)":                                           scheduler.FailureOOM,
		"Internal: onnx runtime error 6: bfc_arena.cc:368 Failed to allocate memory for requested buffer of size 268435456": scheduler.FailureOOM,
		"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 750.00 MiB. GPU 0 has a total capacity of 14.57 GiB": scheduler.FailureOOM,
		"[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMalloc(ptr, n): out of memory":                                   scheduler.FailureOOM,
		"vk_error_out_of_device_memory":               scheduler.FailureOOM,
		"failed to load 'a', no version is available": scheduler.FailureUnknown,
		"the model remembers nothing of it":           scheduler.FailureUnknown,
	} {
		a := model("a:1", 4*mib)
		f := newFake(t, a)
		s := open(t, f.serve(httpx.Ollama), false, a)
		f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if r.Method != http.MethodPost {
				return false
			}
			refuse(w, http.StatusInternalServerError, text)
			return true
		}
		s.fails(s.load(0, scheduler.TierDisk), code, text)
		f.let(nil)
	}
}

// TestMemoryRunsOut, in a load and in a batch, on servers of each kind.
func TestMemoryRunsOut(t *testing.T) {
	for _, kind := range httpx.Kinds() {
		a, b := model("a:1", 4*mib), model("b:1", 4*mib)
		f := newFake(t, a, b)
		f.memory = 6 * mib
		s := open(t, f.serve(kind), false, a, b)
		s.fine(s.load(0, scheduler.TierDisk))
		s.fails(s.load(1, scheduler.TierDisk), scheduler.FailureOOM, "out of memory")
		if held, _ := f.inUse(); held != 4*mib {
			t.Errorf("%s: %v are held", kind, held)
		}
		quick := f.latency
		f.latency = 2 * time.Second // so that members meet on a busy machine, too; the first failure ends them all
		s.fails(s.run(0, 4), scheduler.FailureOOM, "out of memory")
		if err := f.quiet(); err != nil { // members that were given up hold memory a little longer
			t.Fatal(err)
		}
		f.latency = quick
		s.fine(s.run(0, 1))
	}
}

// TestHang: a batch that hangs times out and the device stays; a load that
// hangs loses it, with all that is in flight.
func TestHang(t *testing.T) {
	a, b := model("a:1", 4*mib), model("b:1", 4*mib)
	f := newFake(t, a, b)
	cfg := f.serve(httpx.Ollama)
	cfg.RunTimeout, cfg.LoadTimeout = 2*time.Second, 2*time.Second // in which a busy machine answers, too
	s := open(t, cfg, false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	f.arm("hang")
	s.fails(s.run(0, 1), scheduler.FailureTimeout, "run timed out after 2s")
	s.fine(s.run(0, 2))
	f.arm("hang")
	s.fails(s.load(1, scheduler.TierDisk), scheduler.FailureLost, "load timed out after 2s")
	if err := s.e.Start(batch(0, 1)); err == nil {
		t.Error("a batch starts on a device that is lost")
	}
	if err := s.e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	s.fails(s.run(0, 1), scheduler.FailureUnknown, "not loaded")
	s.fine(s.load(0, scheduler.TierDisk))
}

// TestServerGoesAndComesBack: all in flight is lost at once; Restart waits for
// the server.
func TestServerGoesAndComesBack(t *testing.T) {
	a, b := model("a:1", 4*mib), model("b:1", 4*mib)
	f := newFake(t, a, b)
	s := open(t, f.serve(httpx.Ollama), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	reached, gone := make(chan bool, 100), false
	f.intercept = func(_ http.ResponseWriter, r *http.Request, body string) bool {
		switch {
		case gone:
			panic(http.ErrAbortHandler)
		case strings.Contains(body, "prompt"):
			reached <- true
			<-r.Context().Done() // a batch that would last
			return true
		}
		return false
	}
	first := s.start(batch(0, 1))
	await(t, reached)
	f.arm("crash")
	second := s.start(scheduler.Command{Op: scheduler.OpLoad, Model: 1})
	for range 2 {
		o := s.outcome()
		s.fails(o, scheduler.FailureLost, "lost", "does not answer")
		if o.Seq != first && o.Seq != second || !o.Failure.Retryable {
			t.Errorf("outcome %+v", o)
		}
	}
	f.mu.Lock()
	f.intercept = func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if gone = len(f.requests) < 6; gone { // it takes a while
			panic(http.ErrAbortHandler)
		}
		return false
	}
	f.mu.Unlock()
	f.asked()
	if err := s.e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	s.fine(s.load(0, scheduler.TierDisk))
}

// TestCancel ends a batch and leaves loads alone.
func TestCancel(t *testing.T) {
	a := model("a:1", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.Ollama), false, a)
	reached := make(chan bool, 100)
	f.intercept = func(_ http.ResponseWriter, r *http.Request, body string) bool {
		if r.URL.Path == "/api/generate" && strings.Contains(body, `"keep_alive":-1`) {
			reached <- true
			if strings.Contains(body, "prompt") {
				<-r.Context().Done()
				return true
			}
		}
		return false
	}
	load := s.start(scheduler.Command{Op: scheduler.OpLoad})
	await(t, reached)
	s.e.Cancel(load)
	s.fine(s.outcome())
	run := s.start(batch(0, 1))
	await(t, reached)
	s.e.Cancel(run)
	s.fails(s.outcome(), scheduler.FailureUnknown, "cancelled")
	f.let(nil)
	s.fine(s.run(0, 1))
}

// TestCrashIsNotOverlooked: a request that the server breaks off is not asked
// again, not even one that only reads: what was resident is gone.
func TestCrashIsNotOverlooked(t *testing.T) {
	a, b := model("a", 4*mib), model("b", 4*mib)
	f := newFake(t, a, b)
	s := open(t, f.serve(httpx.LlamaSwap), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	var once atomic.Bool
	f.intercept = func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Path == "/upstream/b/health" && once.CompareAndSwap(false, true) {
			f.mu.Lock()
			f.held = 0
			clear(f.models)
			f.mu.Unlock()
			panic(http.ErrAbortHandler) // and is back before anybody asks again
		}
		return false
	}
	s.fails(s.load(1, scheduler.TierDisk), scheduler.FailureLost, "lost")
	f.let(nil)
	if err := s.e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	s.fails(s.run(0, 1), scheduler.FailureUnknown, "not loaded")
}

// TestOvertakenIndex: what a command has changed since an index was asked for
// is no move of the server's.
func TestOvertakenIndex(t *testing.T) {
	a, b := model("a:1", 4*mib), model("b:1", 4*mib)
	f := newFake(t, a, b)
	s := open(t, f.serve(httpx.Ollama), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	var once atomic.Bool
	asked, release := make(chan bool, 1), make(chan bool)
	f.intercept = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Path != "/api/ps" || !once.CompareAndSwap(false, true) {
			return false
		}
		asked <- true
		select {
		case <-release:
		case <-r.Context().Done():
		}
		answer(w, map[string]any{"models": []map[string]any{{"name": "a:1", "size_vram": 4 * mib}}})
		return true
	}
	run := s.start(batch(0, 1))
	await(t, asked)
	s.fine(s.load(1, scheduler.TierDisk))
	close(release)
	if o := s.fine(s.outcome()); o.Seq != run || s.e.Moves() != 0 {
		t.Errorf("outcome of %d, %d moves", o.Seq, s.e.Moves())
	}
	f.let(nil)
}

// TestFirstFailureEndsTheBatch: the other members are given up.
func TestFirstFailureEndsTheBatch(t *testing.T) {
	a := model("a:1", 4*mib)
	f := newFake(t, a)
	s := open(t, f.serve(httpx.Ollama), false, a)
	s.fine(s.load(0, scheduler.TierDisk))
	var once atomic.Bool
	f.intercept = func(w http.ResponseWriter, r *http.Request, body string) bool {
		if !strings.Contains(body, "prompt") {
			return false
		}
		if once.CompareAndSwap(false, true) {
			refuse(w, http.StatusInternalServerError, "this one")
		} else {
			<-r.Context().Done()
		}
		return true
	}
	s.fails(s.run(0, 3), scheduler.FailureUnknown, "this one")
	f.let(nil)
}

// TestLoadsOutlastALoss: a server that talked nonsense may end a load, so that
// Restart knows of it.
func TestLoadsOutlastALoss(t *testing.T) {
	a, b := model("a:1", 4*mib), model("b:1", 4*mib)
	f := newFake(t, a, b)
	s := open(t, f.serve(httpx.Ollama), false, a, b)
	s.fine(s.load(0, scheduler.TierDisk))
	reached, ended := make(chan bool, 1), make(chan bool, 1)
	f.intercept = func(_ http.ResponseWriter, r *http.Request, body string) bool {
		if strings.Contains(body, `"b:1"`) && strings.Contains(body, `"keep_alive":-1`) {
			reached <- true
			select {
			case <-time.After(100 * time.Millisecond): // what the load takes
				ended <- true
			case <-r.Context().Done():
				ended <- false
			}
		}
		return false
	}
	load := s.start(scheduler.Command{Op: scheduler.OpLoad, Model: 1})
	await(t, reached)
	f.arm("garbage")
	s.fails(s.run(0, 1), scheduler.FailureLost, "no JSON")
	if o := s.outcome(); o.Seq != load || o.Failure == nil || o.Failure.Code != scheduler.FailureLost {
		t.Errorf("outcome %+v", o)
	}
	if !<-ended {
		t.Error("the load was aborted")
	}
	f.let(nil)
	if err := s.e.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if held, _ := f.inUse(); held != 0 {
		t.Errorf("%v are held after a restart", held)
	}
}

// await waits for a signal.
func await(t *testing.T, signal <-chan bool) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(20 * time.Second):
		t.Fatal("it was waited for in vain")
	}
}
