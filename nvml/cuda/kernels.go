package cuda

import (
	_ "embed"
	"encoding/binary"
	"strings"
)

// kernelSource is the PTX of the kernels, for kernelTarget.
//
//go:embed kernels.ptx
var kernelSource string

// kernelTarget is what the kernels are written for. A driver that does not
// compile it any more is given the same text for kernelRetry.
const (
	kernelTarget = "sm_70"
	kernelRetry  = "sm_75"
)

// kernelsFor returns the source for another target.
func kernelsFor(target string) string {
	return strings.Replace(kernelSource, ".target "+kernelTarget, ".target "+target, 1)
}

// The parameters of the kernels, in the layout of their .param declarations.
// Addresses are the device's.
type (
	spinParams struct{ NS, Out uint64 }
	burnParams struct{ Iters, Out uint64 }
	sumParams  struct{ Src, N16, Passes, Out uint64 }
	fillParams struct{ Dst, N, Seed uint64 }
)

// kernels are the entries, as indices of a session's functions.
const (
	spinNS = iota
	burnFMA
	sumU32
	fillU32
	kernels
)

var kernelNames = [kernels]string{spinNS: "spin_ns", burnFMA: "burn_fma", sumU32: "sum_u32", fillU32: "fill_u32"}

const (
	wordBytes   = 4
	vectorBytes = 16 // what a thread of sum_u32 reads at once
)

// word returns word i of the stream of seed: the twin of fill_u32.
func word(seed uint32, i uint64) uint32 {
	x := uint32(i)*0x9E3779B1 + uint32(i>>32)*0x85EBCA77 + seed
	x ^= x >> 16
	x *= 0x85EBCA6B
	x ^= x >> 13
	x *= 0xC2B2AE35
	return x ^ x>>16
}

// fill writes the stream's words from word first on, in the device's order of
// bytes. The length of dst is a multiple of wordBytes.
func fill(dst []byte, seed uint32, first uint64) {
	for i := uint64(0); len(dst) >= wordBytes; i++ {
		binary.LittleEndian.PutUint32(dst, word(seed, first+i))
		dst = dst[wordBytes:]
	}
}

// streamSum returns what sum_u32 does in one pass over n words of the stream,
// from word first on.
func streamSum(seed uint32, first, n uint64) uint64 {
	sum := uint64(0)
	for i := range n {
		sum += uint64(word(seed, first+i)) * uint64(2*uint32(i)+1)
	}
	return sum
}
