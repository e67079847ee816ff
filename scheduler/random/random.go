// Package random draws numbers that are the same on every machine.
//
// Streams are counter-based and keyed: what an entity draws depends on its key
// alone, never on how much others have drawn. Distributions are quantile
// functions, so that one uniform gives one variate and two systems that share
// a key share their luck (common random numbers).
//
// The Go specification allows x*y + z to be fused into one rounding, and
// math.Log and math.Exp differ between architectures. Here every product that
// is added to something is converted explicitly, which forbids the fusion, and
// the logarithm and exponential are our own; only operations that IEEE 754
// rounds exactly (+ - × ÷ √) are used besides.
package random

import (
	"math"
	"math/bits"
)

const golden = 0x9e3779b97f4a7c15

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, with
// the constants of Stafford's variant 13).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Key derives the key of a stream from a seed and what the stream is for, such
// as the replicate, an entity and a purpose. Order and number of parts matter.
func Key(seed uint64, parts ...uint64) uint64 {
	h := mix(seed + golden)
	for _, p := range parts {
		h = extend(h).Key(p)
	}
	return h
}

// Prefix is the beginning of a Key, for the many keys that share it.
type Prefix uint64

// NewPrefix begins keys with a seed and, it may be, some parts.
func NewPrefix(seed uint64, parts ...uint64) Prefix { return extend(Key(seed, parts...)) }

// extend returns what the keys begin with that have more parts than key.
func extend(key uint64) Prefix { return Prefix(bits.RotateLeft64(key, 23) * golden) }

// Key returns the key with one more part: NewPrefix(s, a).Key(b) = Key(s, a, b).
func (p Prefix) Key(part uint64) uint64 { return mix(uint64(p) ^ mix(part+golden)) }

// Prefix returns what keys with two more parts begin with, of which this is the
// first: NewPrefix(s, a).Prefix(b) = NewPrefix(s, a, b).
func (p Prefix) Prefix(part uint64) Prefix { return extend(p.Key(part)) }

// Hash turns a name into a part of a Key: FNV-1a, then mixed.
func Hash(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return mix(h)
}

// Uniform returns the one uniform number in (0, 1) that belongs to a key.
func Uniform(key uint64) float64 { return unit(mix(key + golden)) }

// Uniforms sets out to the uniform numbers that belong to the keys p.Key(from),
// p.Key(from+1) and so on.
func Uniforms(out []float64, p Prefix, from uint64) {
	for i := range out {
		out[i] = Uniform(p.Key(from + uint64(i)))
	}
}

// unit maps 52 bits to the middles of 2⁵² equal cells of (0, 1): never 0 or 1,
// and both u and 1-u are exact.
func unit(x uint64) float64 {
	const half = 1.0 / (1 << 53)
	return float64(x>>11|1) * half
}

// Stream is a sequence of random numbers, SplitMix64. The zero value is the
// stream of key 0; copying a Stream forks it.
type Stream struct{ state uint64 }

// NewStream returns the stream that belongs to a key.
func NewStream(key uint64) Stream { return Stream{state: key} }

// Uint64 returns the next 64 random bits.
func (s *Stream) Uint64() uint64 {
	s.state += golden
	return mix(s.state)
}

// Uniform returns the next uniform number in (0, 1).
func (s *Stream) Uniform() float64 { return unit(s.Uint64()) }

// Round turns a variate into an integer number of nanoseconds, bytes or
// items: half to even, saturating at 0 and MaxInt64-1; NaN gives 0.
func Round(x float64) int64 {
	switch {
	case !(x > 0):
		return 0
	case x >= math.MaxInt64:
		return math.MaxInt64 - 1
	}
	return int64(math.RoundToEven(x))
}
