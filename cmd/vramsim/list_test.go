package main

import (
	"strings"
	"testing"

	"github.com/vramsim/vramsim/policies"
)

// The list of policies has a line for each entry, in their order; a preset's says
// what it stands for and what the system does otherwise that it is named after.
func TestListPolicies(t *testing.T) {
	code, stdout, stderr := vramsim(t, "list", "policies")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	lines, entries := strings.Split(strings.TrimSpace(stdout), "\n")[1:], policies.Builtin().List()
	if len(lines) != len(entries) {
		t.Fatalf("%d lines for %d entries", len(lines), len(entries))
	}
	presets := 0
	for i, e := range entries {
		fields := strings.Fields(lines[i])
		if fields[0] != e.Name || fields[1] != string(e.Kind) || !strings.Contains(lines[i], e.Doc) {
			t.Errorf("%s %s: %s", e.Kind, e.Name, lines[i])
		}
		if e.Kind == policies.KindPreset {
			presets++
			if !strings.HasSuffix(lines[i], "; the original: "+e.Deviations) {
				t.Errorf("%s without what deviates: %s", e.Name, lines[i])
			}
		}
	}
	want := "{use: fifo, params: {bypass: true}, evict: {keep-alive: {max: 3}}, place: most-free, admit: {queue-cap: {items: 512}}}; the original: "
	if presets != 16 || !strings.Contains(stdout, want) {
		t.Errorf("%d presets, or ollama is not\n%s in\n%s", presets, want, stdout)
	}
}
