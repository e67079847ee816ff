package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// entry is a kernel as its PTX declares it.
type entry struct {
	name       string
	parameters []string // types
	names      []string
	registers  map[string]int // bound of each class's numbers, by prefix
	types      map[string]string
	body       []instruction
	labels     map[string]int
}

// instruction is one line of a kernel.
type instruction struct {
	guard, op string
	args      []string
}

var (
	entryLine    = regexp.MustCompile(`^\.visible \.entry (\w+)\($`)
	paramLine    = regexp.MustCompile(`^\.param \.(\w+) (\w+),?$`)
	registerLine = regexp.MustCompile(`^\.reg \.(\w+) (%[a-z]+)<(\d+)>;$`)
	labelLine    = regexp.MustCompile(`^(\$\w+):$`)
	codeLine     = regexp.MustCompile(`^(?:@(%p\d+) )?([a-z][\w.]*)(?: (.+))?;$`)
)

// parsePTX reads the subset of PTX that the kernels are written in, strictly.
func parsePTX(t testing.TB, source string) (header []string, entries []*entry) {
	t.Helper()
	var e *entry
	for n, line := range strings.Split(source, "\n") {
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == ")" || line == "{" || line == "}":
		case entryLine.MatchString(line):
			e = &entry{name: entryLine.FindStringSubmatch(line)[1], registers: map[string]int{}, types: map[string]string{}, labels: map[string]int{}}
			entries = append(entries, e)
		case e == nil:
			header = append(header, line)
		case !e.parse(line):
			t.Fatalf("line %d is not understood: %s", n+1, line)
		}
	}
	return header, entries
}

func (e *entry) parse(line string) bool {
	if m := paramLine.FindStringSubmatch(line); m != nil {
		e.parameters, e.names = append(e.parameters, m[1]), append(e.names, m[2])
	} else if m := registerLine.FindStringSubmatch(line); m != nil {
		e.registers[m[2]], _ = strconv.Atoi(m[3])
		e.types[m[2]] = m[1]
	} else if m := labelLine.FindStringSubmatch(line); m != nil {
		e.labels[m[1]] = len(e.body)
	} else if m := codeLine.FindStringSubmatch(line); m != nil {
		i := instruction{guard: m[1], op: m[2]}
		for arg := range strings.SplitSeq(strings.NewReplacer("{", "", "}", "").Replace(m[3]), ",") {
			if arg = strings.TrimSpace(arg); arg != "" {
				i.args = append(i.args, arg)
			}
		}
		e.body = append(e.body, i)
	} else {
		return false
	}
	return true
}

// TestPTX: the kernels are PTX 7.0 for sm_70, in ASCII, with the entries and
// parameters that the launches have.
func TestPTX(t *testing.T) {
	if i := strings.IndexFunc(kernelSource, func(r rune) bool { return r > 126 }); i >= 0 {
		t.Errorf("PTX is ASCII; byte %d is not", i)
	}
	header, entries := parsePTX(t, kernelSource)
	if !slices.Equal(header, []string{".version 7.0", ".target " + kernelTarget, ".address_size 64"}) {
		t.Errorf("header: %q", header)
	}
	params := map[string]any{"spin_ns": spinParams{}, "burn_fma": burnParams{}, "sum_u32": sumParams{}, "fill_u32": fillParams{}}
	var names []string
	for _, e := range entries {
		names = append(names, e.name)
		checkParameters(t, e, reflect.TypeOf(params[e.name]))
		checkRegisters(t, e)
	}
	if !slices.Equal(names, kernelNames[:]) {
		t.Errorf("entries %q, want %q", names, kernelNames)
	}
	again, _ := parsePTX(t, kernelsFor(kernelRetry))
	if !slices.Equal(again, []string{".version 7.0", ".target " + kernelRetry, ".address_size 64"}) {
		t.Errorf("header of the retry: %q", again)
	}
}

// checkParameters compares a kernel's parameters with the struct of its launch:
// each field's name, size and offset.
func checkParameters(t *testing.T, e *entry, p reflect.Type) {
	t.Helper()
	if p == nil || p.NumField() != len(e.parameters) {
		t.Fatalf("%s has %d parameters, its launch is %v", e.name, len(e.parameters), p)
	}
	for i, kind := range e.parameters {
		f := p.Field(i)
		if want := e.name + "_" + strings.ToLower(f.Name); e.names[i] != want {
			t.Errorf("%s: parameter %d is %s, its field %s", e.name, i, e.names[i], f.Name)
		}
		if kind != "u64" || f.Type.Kind() != reflect.Uint64 || f.Offset != uintptr(8*i) {
			t.Errorf("%s: parameter %d is %s, its field %v at %d", e.name, i, kind, f.Type, f.Offset)
		}
	}
}

var registerName = regexp.MustCompile(`^\[?(%[a-z]+)(\d+)(?:\+\d+)?\]?$`)

// checkRegisters: what a kernel uses it declares; labels it jumps to are there;
// it ends.
func checkRegisters(t *testing.T, e *entry) {
	t.Helper()
	for _, i := range e.body {
		for _, arg := range append(slices.Clone(i.args), i.guard) {
			if m := registerName.FindStringSubmatch(arg); m != nil {
				if n, _ := strconv.Atoi(m[2]); n >= e.registers[m[1]] {
					t.Errorf("%s: %s is not declared (%s %v)", e.name, arg, i.op, i.args)
				}
			}
		}
		if _, ok := e.labels[i.args0()]; i.op == "bra" && !ok {
			t.Errorf("%s: no label %s", e.name, i.args0())
		}
	}
	if last := e.body[len(e.body)-1]; last.op != "ret" || last.guard != "" {
		t.Errorf("%s ends with %v", e.name, last)
	}
}

func (i *instruction) args0() string {
	if len(i.args) == 0 {
		return ""
	}
	return i.args[0]
}

// TestPtxas compiles the kernels for the targets that they have to run on, where
// NVIDIA's assembler is installed.
func TestPtxas(t *testing.T) {
	ptxas, err := exec.LookPath("ptxas")
	if err != nil {
		t.Skip("no ptxas")
	}
	refused := 0
	for _, target := range []string{"sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90"} {
		out, err := exec.CommandContext(t.Context(), ptxas, "-arch", target, "-o", filepath.Join(t.TempDir(), target), "kernels.ptx").CombinedOutput()
		if err != nil && strings.Contains(string(out), "gpu-name") {
			refused++ // newer assemblers have dropped the oldest targets
			continue
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
	if refused > 1 {
		t.Errorf("%d targets are not known to this ptxas", refused)
	}
}

// machine interprets a kernel thread by thread, by the instructions' description
// in the PTX ISA. It stands in for a card as far as the logic goes.
type machine struct {
	memory  map[uint64]byte
	at      uint64 // where memory begins
	size    uint64
	clock   uint64 // what %globaltimer says
	tick    func(*machine)
	stepped int
}

const mostSteps = 3_000_000

// thread is where in the grid a thread is.
type thread struct{ ctaid, tid, ntid, nctaid uint32 }

// run runs all threads of a grid, one after the other.
func (m *machine) run(e *entry, blocks, threads uint32, params ...uint64) error {
	for c := range blocks {
		for i := range threads {
			if err := m.thread(e, thread{c, i, threads, blocks}, params); err != nil {
				return fmt.Errorf("%s, block %d, thread %d: %w", e.name, c, i, err)
			}
		}
	}
	return nil
}

// state is a thread's registers, all as bits; predicates are 0 and 1.
type state struct {
	*machine
	e      *entry
	th     thread
	params []uint64
	regs   map[string]uint64
}

func (m *machine) thread(e *entry, th thread, params []uint64) error {
	s := &state{machine: m, e: e, th: th, params: params, regs: map[string]uint64{}}
	for pc := 0; pc < len(e.body); {
		if m.stepped++; m.stepped > mostSteps {
			return fmt.Errorf("does not end")
		}
		i := &e.body[pc]
		pc++
		if i.guard != "" && s.regs[i.guard] == 0 {
			continue
		}
		switch i.op {
		case "ret":
			return nil
		case "bra":
			pc = e.labels[i.args[0]]
		default:
			if err := s.step(i); err != nil {
				return fmt.Errorf("%s %v: %w", i.op, i.args, err)
			}
		}
	}
	return fmt.Errorf("runs off its end")
}

// value returns an operand's bits.
func (s *state) value(arg string) (uint64, error) {
	switch arg {
	case "%tid.x":
		return uint64(s.th.tid), nil
	case "%ctaid.x":
		return uint64(s.th.ctaid), nil
	case "%ntid.x":
		return uint64(s.th.ntid), nil
	case "%nctaid.x":
		return uint64(s.th.nctaid), nil
	case "%globaltimer":
		s.tick(s.machine)
		return s.clock, nil
	}
	if hex, ok := strings.CutPrefix(arg, "0f"); ok {
		return strconv.ParseUint(hex, 16, 32)
	}
	if strings.HasPrefix(arg, "%") {
		v, ok := s.regs[arg]
		if !ok {
			return 0, fmt.Errorf("%s is read before it is written", arg)
		}
		return v, nil
	}
	return strconv.ParseUint(arg, 0, 64)
}

// address splits [%rd1+8].
func (s *state) address(arg string) (uint64, error) {
	base, offset, _ := strings.Cut(strings.Trim(arg, "[]"), "+")
	if i := slices.Index(s.e.names, base); i >= 0 {
		return s.params[i], nil // of ld.param, which reads the value itself
	}
	v, err := s.value(base)
	if err != nil || offset == "" {
		return v, err
	}
	o, err := strconv.ParseUint(offset, 10, 64)
	return v + o, err
}

// access reads or writes n bytes, aligned and inside.
func (m *machine) access(at, n uint64, write *uint64) (uint64, error) {
	if at%n != 0 || at < m.at || at+n > m.at+m.size {
		return 0, fmt.Errorf("%d bytes at %#x, outside or not aligned", n, at)
	}
	v := uint64(0)
	for i := range n {
		if write != nil {
			m.memory[at+i] = byte(*write >> (8 * i))
		}
		v |= uint64(m.memory[at+i]) << (8 * i)
	}
	return v, nil
}

func (s *state) set(arg string, v uint64) {
	if kind := s.e.types[registerName.FindStringSubmatch(arg)[1]]; strings.HasSuffix(kind, "32") {
		v = uint64(uint32(v))
	}
	s.regs[arg] = v
}

// step carries out what is no jump.
func (s *state) step(i *instruction) error {
	switch {
	case strings.HasPrefix(i.op, "ld.") || strings.HasPrefix(i.op, "st.") || strings.HasPrefix(i.op, "red."):
		return s.move(i)
	}
	var in []uint64
	for _, arg := range i.args[1:] {
		v, err := s.value(arg)
		if err != nil {
			return err
		}
		in = append(in, v)
	}
	f, ok := operations[i.op]
	if !ok {
		return fmt.Errorf("unknown to this interpreter")
	}
	s.set(i.args[0], f(in))
	return nil
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func float(v uint64) float32 { return math.Float32frombits(uint32(v)) }

var operations = map[string]func([]uint64) uint64{
	"mov.u32": func(v []uint64) uint64 { return v[0] }, "mov.u64": func(v []uint64) uint64 { return v[0] }, "mov.f32": func(v []uint64) uint64 { return v[0] },
	"cvta.to.global.u64": func(v []uint64) uint64 { return v[0] },
	"cvt.u64.u32":        func(v []uint64) uint64 { return uint64(uint32(v[0])) },
	"cvt.u32.u64":        func(v []uint64) uint64 { return uint64(uint32(v[0])) },
	"or.b32":             func(v []uint64) uint64 { return v[0] | v[1] }, "xor.b32": func(v []uint64) uint64 { return v[0] ^ v[1] },
	"add.u32": func(v []uint64) uint64 { return v[0] + v[1] }, "add.u64": func(v []uint64) uint64 { return v[0] + v[1] },
	"min.u64":    func(v []uint64) uint64 { return min(v[0], v[1]) },
	"sub.u64":    func(v []uint64) uint64 { return v[0] - v[1] },
	"mul.lo.u32": func(v []uint64) uint64 { return v[0] * v[1] }, "mad.lo.u32": func(v []uint64) uint64 { return v[0]*v[1] + v[2] },
	"mul.wide.u32": func(v []uint64) uint64 { return uint64(uint32(v[0])) * uint64(uint32(v[1])) },
	"mad.wide.u32": func(v []uint64) uint64 { return uint64(uint32(v[0]))*uint64(uint32(v[1])) + v[2] },
	"shl.b32":      func(v []uint64) uint64 { return v[0] << v[1] }, "shl.b64": func(v []uint64) uint64 { return v[0] << v[1] },
	"shr.u32": func(v []uint64) uint64 { return uint64(uint32(v[0])) >> v[1] }, "shr.u64": func(v []uint64) uint64 { return v[0] >> v[1] },
	"setp.eq.u64": func(v []uint64) uint64 { return flag(v[0] == v[1]) }, "setp.ne.u64": func(v []uint64) uint64 { return flag(v[0] != v[1]) },
	"setp.ne.u32": func(v []uint64) uint64 { return flag(uint32(v[0]) != uint32(v[1])) },
	"setp.lt.u64": func(v []uint64) uint64 { return flag(v[0] < v[1]) }, "setp.ge.u64": func(v []uint64) uint64 { return flag(v[0] >= v[1]) },
	"setp.gt.u64": func(v []uint64) uint64 { return flag(v[0] > v[1]) },
	"setp.lt.f32": func(v []uint64) uint64 { return flag(float(v[0]) < float(v[1])) },
	"add.f32":     func(v []uint64) uint64 { return uint64(math.Float32bits(float(v[0]) + float(v[1]))) },
	"fma.rn.f32": func(v []uint64) uint64 {
		return uint64(math.Float32bits(float32(math.FMA(float64(float(v[0])), float64(float(v[1])), float64(float(v[2]))))))
	},
}

// move carries out what touches memory.
func (s *state) move(i *instruction) error {
	switch i.op {
	case "ld.param.u64":
		v, err := s.address(i.args[1])
		s.set(i.args[0], v)
		return err
	case "ld.global.u64":
		return s.fetch(i.args[1], 8, i.args[:1])
	case "ld.global.v4.u32":
		at, err := s.address(i.args[4])
		if err == nil && at%vectorBytes != 0 {
			err = fmt.Errorf("vector at %#x", at)
		}
		if err != nil {
			return err
		}
		return s.fetch(i.args[4], 4, i.args[:4])
	}
	at, err := s.address(i.args[0])
	if err != nil {
		return err
	}
	v, err := s.value(i.args[1])
	if err != nil {
		return err
	}
	n := map[string]uint64{"st.global.u64": 8, "st.global.u32": 4, "st.global.f32": 4, "red.global.add.u64": 8}[i.op]
	if n == 0 {
		return fmt.Errorf("unknown to this interpreter")
	}
	if i.op == "red.global.add.u64" {
		old, err := s.access(at, 8, nil)
		if err != nil {
			return err
		}
		v += old
	}
	_, err = s.access(at, n, &v)
	return err
}

func (s *state) fetch(from string, n uint64, to []string) error {
	at, err := s.address(from)
	if err != nil {
		return err
	}
	for k, register := range to {
		v, err := s.access(at+uint64(k)*n, n, nil)
		if err != nil {
			return err
		}
		s.set(register, v)
	}
	return nil
}

func newMachine(size uint64) *machine {
	return &machine{memory: map[uint64]byte{}, at: 1 << 33, size: size, clock: 1 << 40, tick: func(m *machine) { m.clock += 32 }}
}

func (m *machine) u64(at uint64) uint64 {
	v, err := m.access(at, 8, nil)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return v
}

func kernelOf(t testing.TB, name string) *entry {
	_, entries := parsePTX(t, kernelSource)
	i := slices.IndexFunc(entries, func(e *entry) bool { return e.name == name })
	if i < 0 {
		t.Fatalf("no kernel %s", name)
	}
	return entries[i]
}

// TestFillAndSumKernels: on any grid the kernels write and sum what their twins
// in Go do, and touch nothing else.
func TestFillAndSumKernels(t *testing.T) {
	fillKernel, sumKernel := kernelOf(t, "fill_u32"), kernelOf(t, "sum_u32")
	rapid.Check(t, func(t *rapid.T) {
		vectors := rapid.Uint64Range(0, 40).Draw(t, "vectors")
		seed, passes := rapid.Uint64().Draw(t, "seed"), rapid.Uint64Range(0, 3).Draw(t, "passes")
		blocks, threads := rapid.Uint32Range(1, 3).Draw(t, "blocks"), rapid.Uint32Range(1, 8).Draw(t, "threads")
		m := newMachine(vectorBytes*vectors + 16)
		out := m.at + vectorBytes*vectors
		if err := m.run(fillKernel, blocks, threads, m.at, 4*vectors, seed); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, vectorBytes*vectors)
		fill(want, uint32(seed), 0)
		for i := range want {
			if m.memory[m.at+uint64(i)] != want[i] {
				t.Fatalf("byte %d is %#x, not %#x", i, m.memory[m.at+uint64(i)], want[i])
			}
		}
		if m.u64(out) != 0 || m.u64(out+8) != 0 {
			t.Fatal("fill_u32 wrote behind the end")
		}
		if err := m.run(sumKernel, blocks, threads, m.at, vectors, passes, out); err != nil {
			t.Fatal(err)
		}
		if got, want := m.u64(out), passes*streamSum(uint32(seed), 0, 4*vectors); got != want {
			t.Fatalf("sum %#x, not %#x", got, want)
		}
	})
}

// TestFillKernelPast32Bits: word 2^32 of a stream is another one than word 0.
// (The interpreter cannot walk that far; the twin shows what the kernel's high
// half does.)
func TestFillKernelPast32Bits(t *testing.T) {
	if word(7, 1<<32) == word(7, 0) || word(7, 1<<32+5) == word(7, 5) {
		t.Error("the stream repeats after 16 GiB")
	}
	high := uint32(0x85EBCA77)
	if word(0, 1<<32) != word(high, 0) {
		t.Error("the high half of an index counts otherwise than in the kernel")
	}
}

// TestSumKernelSeesOrder: words that changed places change the sum.
func TestSumKernelSeesOrder(t *testing.T) {
	sumKernel := kernelOf(t, "sum_u32")
	m := newMachine(80)
	data := make([]byte, 64)
	fill(data, 1, 0)
	sumOf := func() uint64 {
		for i, b := range data {
			m.memory[m.at+uint64(i)] = b
		}
		zero := uint64(0)
		if _, err := m.access(m.at+64, 8, &zero); err != nil {
			t.Fatal(err)
		}
		if err := m.run(sumKernel, 1, 4, m.at, 4, 1, m.at+64); err != nil {
			t.Fatal(err)
		}
		return m.u64(m.at + 64)
	}
	before := sumOf()
	a, b := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[48:])
	binary.LittleEndian.PutUint64(data, b)
	binary.LittleEndian.PutUint64(data[48:], a)
	if sumOf() == before {
		t.Error("the sum is the same when words are exchanged")
	}
}

// TestBurnKernel: only the first thread counts, and the store that keeps the
// chains alive does not happen.
func TestBurnKernel(t *testing.T) {
	e := kernelOf(t, "burn_fma")
	for _, iters := range []uint64{0, 1, 7, 300} {
		m := newMachine(16)
		for range 2 {
			if err := m.run(e, 2, 3, iters, m.at); err != nil {
				t.Fatal(err)
			}
		}
		if m.u64(m.at) != 2*iters || m.u64(m.at+8) != 0 {
			t.Errorf("%d iterations twice: %d counted, %#x beside", iters, m.u64(m.at), m.u64(m.at+8))
		}
	}
	fmas := 0
	for _, i := range e.body {
		if i.op == "fma.rn.f32" {
			fmas++
		}
	}
	if fmas != 32 {
		t.Errorf("%d multiply-adds an iteration", fmas)
	}
}

// TestSpinKernel: launches over one out are exact together; a reading of the
// clock that is torn at a carry of its low half neither starts nor ends one.
func TestSpinKernel(t *testing.T) {
	e := kernelOf(t, "spin_ns")
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(16)
		m.clock = rapid.Uint64Range(1, 8).Draw(t, "high")<<32 - rapid.Uint64Range(1, 1600).Draw(t, "to the carry")
		real, quantum := m.clock, rapid.Uint64Range(1, 64).Draw(t, "quantum")
		torn := rapid.SliceOfN(rapid.IntRange(0, 2), 1, 2).Draw(t, "torn")
		m.tick = func(m *machine) {
			before := real
			real += quantum
			m.clock = real
			if before>>32 == real>>32 {
				return
			}
			switch torn[int(real%uint64(len(torn)))] {
			case 1:
				m.clock = real>>32<<32 | before&math.MaxUint32 // low half before the carry, high half after
			case 2:
				m.clock = before>>32<<32 | real&math.MaxUint32
			}
		}
		last := uint64(0)
		for _, ns := range []uint64{0, rapid.Uint64Range(0, 500).Draw(t, "first"), rapid.Uint64Range(500, 1500).Draw(t, "second")} {
			if err := m.run(e, 2, 2, ns, m.at); err != nil {
				t.Fatal(err)
			}
			start, elapsed := m.u64(m.at), m.u64(m.at+8)
			if elapsed < max(ns, last) || elapsed > max(ns, last)+10*quantum+200 || start > real || real-start > elapsed+10*quantum {
				t.Fatalf("%d ns: %d elapsed since %d, it is %d", ns, elapsed, start, real)
			}
			last = elapsed
		}
	})
}
