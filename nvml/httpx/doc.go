// Package httpx has the executor for models that a running inference server
// holds: loads, evictions and batches are requests to it.
//
//	executor.go   the Executor: one outcome a command, timeouts, loss, the index
//	config.go     what a user says of a server; ParseServer reads a flag
//	client.go     requests: bounded, no redirects, no proxies, this machine only
//	work.go       what an item asks for: prompts and tokens made of its seed
//	triton.go     NVIDIA Triton, explicit model control; tensor.go its inputs
//	ollama.go     Ollama
//	vllm.go       vLLM in sleep mode, a server for each model
//	llamaswap.go  llama-swap
//	check.go      what there is at the other end, for doctor
//
// The servers agree on little, so that each is a small interface: what it has,
// what is resident (its index), load, unload, run. After each of these the
// index is asked, and what it says is what happened: an effect that it denies
// has failed.
//
// Ollama and llama-swap move models unasked: Ollama evicts what it likes when
// memory runs short, llama-swap stops one model to start another. A policy
// cannot be held responsible there; such runs are observe-only, to be labelled
// and never ranked.
//
// Where a server reads weights from is its own affair. Triton, Ollama and
// llama-swap read files: both tiers are what the page cache makes of them, and
// a load that the core calls disk may well be warm. vLLM keeps weights in host
// memory if the experiment has a host tier, and reads them again if not.
//
// Nobody has run this against a server on a GPU yet; times are to be measured.
package httpx
