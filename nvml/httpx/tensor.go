package httpx

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// tritonConfig is what matters of a model's configuration
// (https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto).
type tritonConfig struct {
	MaxBatch flexInt `json:"max_batch_size"` // 0: the model does not batch
	Input    []tritonInput
	Sequence json.RawMessage          `json:"sequence_batching"`
	Policy   struct{ Decoupled bool } `json:"model_transaction_policy"`
}

// tritonInput is an input as requests have to give it, but for the batch's
// dimension, which is not among Dims.
type tritonInput struct {
	Name     string
	DataType string    `json:"data_type"` // TYPE_FP32
	Dims     []flexInt // -1: any
	Optional bool
}

// kind returns the type as requests name it: FP32, and BYTES for TYPE_STRING.
func (in *tritonInput) kind() string {
	if in.DataType == "TYPE_STRING" {
		return "BYTES"
	}
	return strings.TrimPrefix(in.DataType, "TYPE_")
}

// flexInt is an integer that may stand in quotes, as 64-bit ones do in the
// JSON of protocol buffers.
type flexInt int64

// UnmarshalJSON reads a number or a text of digits.
func (n *flexInt) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	*n = flexInt(v)
	return err
}

// check returns why no inputs can be made up for a model.
func (c *tritonConfig) check() string {
	switch {
	case c.MaxBatch < 0 || c.MaxBatch > math.MaxInt32:
		return fmt.Sprintf("its max_batch_size is %d", c.MaxBatch)
	case len(c.Sequence) > 0 && string(c.Sequence) != "null":
		return "it batches sequences, whose requests depend on each other"
	case c.Policy.Decoupled:
		return "it is decoupled: how many answers a request has is not known"
	}
	for i := range c.Input {
		in := &c.Input[i]
		if _, known := elementSizes[in.kind()]; !known || in.Name == "" {
			return fmt.Sprintf("its input %q has the unknown type %q", in.Name, in.DataType)
		}
		for _, d := range in.Dims {
			if d < -1 || d == 0 {
				return fmt.Sprintf("its input %q has the dimension %d", in.Name, d)
			}
		}
	}
	return ""
}

// shape returns the shape of an input for a batch. A dimension that the model
// leaves open is as long as the prompt times the most work of an item: it is
// one for all.
func (c *tritonConfig) shape(in *tritonInput, length int, items []scheduler.CommandItem) []int64 {
	var shape []int64
	if c.MaxBatch > 0 {
		shape = append(shape, int64(len(items)))
	}
	var work int64
	for i := range items {
		work = max(work, items[i].Work)
	}
	for _, d := range in.Dims {
		if d < 0 {
			d = flexInt(scaled(length, work))
		}
		shape = append(shape, int64(d))
	}
	return shape
}

// elementSizes are the sizes of types in bytes; 0: each has its own.
var elementSizes = map[string]int64{"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2,
	"INT32": 4, "INT64": 8, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0}

// maxTensor is the most bytes that are made up for one input.
const maxTensor = 256 << 20

// elements returns how many a shape has, false if they are more than maxTensor.
func elements(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d > maxTensor/n {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// fillTensor appends a tensor's elements, row by row, little endian. Rows are
// the items of a batch, each made of its item's seed: numbers with a fraction
// lie evenly in [0, 1), bytes are any, texts are prompts. Other integers are 1:
// as token, mask, length or index that is in range for most models, as zero or
// a random one is not.
func (c *Config) fillTensor(to *bytes.Buffer, kind string, shape []int64, batched bool, items []scheduler.CommandItem) error {
	n, ok := elements(shape)
	if size := elementSizes[kind]; !ok || n*max(1, size) > maxTensor {
		return fmt.Errorf("the shape %v of %s has more than %d bytes", shape, kind, maxTensor)
	}
	rows := items[:1]
	if batched {
		rows = items
	}
	for i := range rows {
		if kind == "BYTES" {
			c.fillTexts(to, n/int64(len(rows)), &rows[i])
			if to.Len() > maxTensor {
				return fmt.Errorf("texts of the shape %v have more than %d bytes", shape, maxTensor)
			}
			continue
		}
		stream := random.NewStream(random.Key(rows[i].Seed, forTensor))
		fillRow(to, kind, n/int64(len(rows)), &stream)
	}
	return nil
}

// fillTexts appends n times an item's prompt, each after its length.
func (c *Config) fillTexts(to *bytes.Buffer, n int64, item *scheduler.CommandItem) {
	text := c.newAsk(item).prompt
	for range n {
		if to.Len() > maxTensor {
			return
		}
		to.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(text))))
		to.WriteString(text)
	}
}

// fillRow appends n elements of a type that has a size.
func fillRow(to *bytes.Buffer, kind string, n int64, stream *random.Stream) {
	row := make([]byte, 0, n*elementSizes[kind])
	for range n {
		switch kind {
		case "FP64":
			row = binary.LittleEndian.AppendUint64(row, math.Float64bits(stream.Uniform()))
		case "FP32":
			row = binary.LittleEndian.AppendUint32(row, math.Float32bits(float32(stream.Uint64()>>40)/(1<<24)))
		case "BF16": // the upper half of a FP32
			row = binary.LittleEndian.AppendUint16(row, uint16(math.Float32bits(float32(stream.Uint64()>>56)/(1<<8))>>16))
		case "FP16":
			row = binary.LittleEndian.AppendUint16(row, half(stream.Uint64()>>54))
		case "UINT8":
			row = append(row, byte(stream.Uint64()))
		default:
			row = append(row, 1)
			row = append(row, make([]byte, elementSizes[kind]-1)...)
		}
	}
	to.Write(row)
}

// half returns u/1024, for u below 1024, in half precision: exact, as its
// numbers from 1 to 2 have ten bits of fraction: (1 + u/1024) − 1, normalised.
func half(u uint64) uint16 {
	if u == 0 {
		return 0
	}
	exponent := uint16(14) // of numbers from 0.5, biased by 15
	for u&512 == 0 {
		u <<= 1
		exponent--
	}
	return exponent<<10 | uint16(u<<1)&0x3ff
}
