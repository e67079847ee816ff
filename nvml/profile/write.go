package profile

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Write writes a profile as YAML; equal profiles give equal bytes. Lines of the
// comment come first.
func (p *Profile) Write(w io.Writer, comment ...string) error {
	if err := p.check(); err != nil {
		return err
	}
	out := writer{}
	for _, line := range comment {
		out.comment("", line)
	}
	fmt.Fprintf(&out, "version: %d\n", Version)
	out.section("machine", p.Machine.flow())
	out.section("measured", p.Measured.flow())
	out.section("process", p.Process.flow())
	out.tiers(&p.Tiers)
	if o := p.Overlap; o != nil {
		out.section("overlap", flow("copy", number(o.Copy), "compute", number(o.Compute)))
	}
	if len(p.Models) == 0 {
		out.section("models", "{}")
	} else {
		out.WriteString("models:\n")
	}
	for i := range p.Models {
		out.model(&p.Models[i])
	}
	out.section("energy", p.Energy.flow())
	_, err := io.WriteString(w, out.String())
	return err
}

// writer makes the text.
type writer struct{ strings.Builder }

// lineWidth is where long flow mappings are broken.
const lineWidth = 110

// comment writes a comment, which may not end it: control characters are left out.
func (w *writer) comment(indent, line string) {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, line)
	w.WriteString(indent + "# " + clean + "\n")
}

// section writes a key and its value in flow style, unless there is none.
func (w *writer) section(key, value string) {
	if value != "" {
		w.entry("", key, value)
	}
}

// entry writes a key and its value, breaking the line after commas.
func (w *writer) entry(indent, key, value string) {
	w.WriteString(indent + key + ":")
	column := len(indent) + len(key) + 1
	for i, word := range splitFlow(value) {
		if i > 0 && column+1+len(word) > lineWidth {
			w.WriteString("\n" + indent + "   ")
			column = len(indent) + 3
		}
		w.WriteString(" " + word)
		column += 1 + len(word)
	}
	w.WriteString("\n")
}

// splitFlow cuts a value at the spaces after its commas, outside quotes.
func splitFlow(value string) (words []string) {
	from, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '\\' && quoted:
			i++
		case value[i] == '"':
			quoted = !quoted
		case !quoted && value[i] == ' ' && i > 0 && value[i-1] == ',':
			words = append(words, value[from:i])
			from = i + 1
		}
	}
	return append(words, value[from:])
}

// flow makes a mapping of keys and values, leaving out those without a value.
func flow(pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, pairs[i]+": "+pairs[i+1])
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func text(s string) string {
	if s == "" {
		return ""
	}
	letters := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./", r))
	}
	first := s[0] | 0x20
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan":
		first = 0
	}
	if 'a' <= first && first <= 'z' && !strings.ContainsFunc(s, letters) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		panic("bug: a profile has no finite number where it needs one")
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// percent spells a share, to a millionth.
func percent(v float64) string {
	return strconv.FormatFloat(math.Round(v*1e6)/1e4, 'f', -1, 64) + "%"
}

func moment(t scheduler.Time) string {
	if t == 0 {
		return ""
	}
	return t.String()
}

func amount(b scheduler.Bytes) string {
	if b == 0 {
		return ""
	}
	return b.String()
}

func whole(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func (m *Machine) flow() string {
	if m == nil {
		return ""
	}
	clocks := ""
	if m.SMMHz != [2]int{} {
		clocks = fmt.Sprintf("[%d, %d]", m.SMMHz[0], m.SMMHz[1])
	}
	return flow("gpu", text(m.GPU), "uuid_hash", text(m.UUIDHash), "cc", text(m.CC), "memory", amount(m.Memory), "limit", amount(m.Limit),
		"driver", text(m.Driver), "cuda", text(m.CUDA), "link", text(m.Link), "sm_mhz", clocks)
}

func (m *Measured) flow() string {
	if m == nil {
		return ""
	}
	at := ""
	if !m.At.IsZero() {
		at = m.At.UTC().Format(time.RFC3339)
	}
	return flow("at", at, "commit", text(m.Commit), "executor", text(m.Executor), "host_tier", text(m.HostTier), "status", text(m.Status), "raw_sha256", text(m.RawSHA256))
}

func (p *Process) flow() string {
	if p == nil {
		return ""
	}
	return flow("spawn", moment(p.Spawn), "context", moment(p.Context), "context_memory", amount(p.ContextMemory))
}

func (w *writer) tiers(t *Tiers) {
	if *t == (Tiers{}) {
		return
	}
	w.WriteString("tiers:\n")
	for _, one := range []struct {
		name string
		tier *Tier
	}{{"pinned", t.Pinned}, {"pagecache", t.Pagecache}, {"disk", t.Disk}} {
		if one.tier == nil {
			continue
		}
		residual := ""
		if r := one.tier.Residual; r != nil {
			residual = flow("p5", percent(r.P5), "p95", percent(r.P95))
		}
		w.entry("  ", one.name, flow("base", one.tier.Base.String(), "per_GB", one.tier.PerGB.String(), "n", whole(one.tier.N), "residual", residual))
	}
}

// bySize spells values by size of a batch.
func bySize[V fmt.Stringer](values map[int]V) string {
	var pairs []string
	for _, n := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, strconv.Itoa(n), values[n].String())
	}
	return flow(pairs...)
}

func (w *writer) model(m *Model) {
	for _, line := range m.Comment {
		w.comment("  ", line)
	}
	memory := flow("declared", amount(m.Memory.Declared), "weights", amount(m.Memory.Weights), "load_peak", amount(m.Memory.LoadPeak),
		"run_peak", bySize(m.Memory.RunPeak), "residue", amount(m.Memory.Residue))
	load := flow("disk", m.Load[scheduler.TierDisk].text, "host", m.Load[scheduler.TierHost].text)
	unload := flow("idle", m.Unload.text, "busy", m.UnloadBusy.text)
	batch := ""
	if b := m.Batch; b != nil {
		batch = flow("max", whole(b.Max), "memory", amount(b.Memory), "base", b.Base.String(), "per_item", b.PerItem.String(), "times", bySize(b.Times))
	}
	entries := [][2]string{{"memory", memory}, {"load", load}, {"first_use", moment(m.FirstUse)}, {"unload", unload}, {"batch", batch}}
	entries = slices.DeleteFunc(entries, func(e [2]string) bool { return e[1] == "" })
	if len(entries) == 0 {
		w.entry("  ", text(m.Name), "{}")
		return
	}
	w.WriteString("  " + text(m.Name) + ":\n")
	for _, e := range entries {
		w.entry("    ", e[0], e[1])
	}
}

func (e *Energy) flow() string {
	if e == nil {
		return ""
	}
	var items []string
	for _, name := range slices.Sorted(maps.Keys(e.ItemJ)) {
		v := e.ItemJ[name]
		items = append(items, text(name), fmt.Sprintf("{value: %s, ci95: [%s, %s]}", number(v.Value), number(v.CI95[0]), number(v.CI95[1])))
	}
	return flow("idle_W", number(e.IdleW), "context_W", number(e.ContextW), "load_J_per_GB", number(e.LoadJPerGB), "item_J", flow(items...), "unexplained", percent(e.Unexplained))
}
