package worker

import (
	_ "embed"
	"slices"
)

//go:embed torch/worker.py
var script []byte

// Script returns the reference worker: a Python program that needs torch,
// transformers and safetensors, or nothing but Python with --backend fake.
func Script() []byte { return slices.Clone(script) }
