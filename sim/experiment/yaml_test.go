package experiment

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// genText is biased to what YAML gives a meaning to.
func genText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "a", "12", "-1", "1e5", "0x10", "true", "null", "~", "no", ".nan", "- a", "a: b", "a:", ": a", "#", "a #b", "'", "\"", "\\", "\\n", "{", "}", "[", "]", ",", "&a", "*a", "!t", "|", ">", "%", "@", "`", "---", "...", "?", "? a", "<<", "1:30", "2024-01-01", "é", "日本", "a\nb", "a\tb", "=", "-", "+", "/x", "x ", " x", "1_000", "😀"}),
		rapid.StringMatching(`[a-zA-Z0-9 :#'"\\{}\[\],&*!|>%@~?<=.+\-]{0,12}`),
		rapid.StringOfN(rapid.RuneFrom([]rune("abé\t\n \"\\:#-日")), 0, 8, -1),
	)
}

func genTree(depth int) *rapid.Generator[*node] {
	return rapid.Custom(func(t *rapid.T) *node {
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		if depth == 0 {
			kind = min(kind, 3)
		}
		switch kind {
		case 0:
			return &node{}
		case 4:
			n := mapping(place{})
			for range rapid.IntRange(0, 4).Draw(t, "keys") {
				n.put(genText().Draw(t, "key"), place{}, genTree(depth-1).Draw(t, "value"))
			}
			return n
		case 5:
			n := list(place{})
			for range rapid.IntRange(0, 4).Draw(t, "entries") {
				n.values = append(n.values, genTree(depth-1).Draw(t, "entry"))
			}
			return n
		}
		return &node{kind: scalarNode, text: genText().Draw(t, "text"), quoted: true}
	})
}

func equalTrees(a, b *node) bool {
	return a.kind == b.kind && a.text == b.text && slices.Equal(a.keys, b.keys) && slices.EqualFunc(a.values, b.values, equalTrees)
}

// What render writes, parseYAML reads back equal.
func TestRenderIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := mapping(place{})
		n.add("root", place{}, genTree(4).Draw(t, "tree"))
		text := render(n)
		var errs Errors
		back := parseYAML("x", text, &errs)
		if !errs.none() {
			t.Fatalf("%v\n%s", &errs, text)
		}
		if !equalTrees(n, back) {
			t.Fatalf("%s\nis read as\n%s", text, render(back))
		}
	})
}

func TestYAML(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: 1\nb: [x, {c: d}]\n", `{a: 1, b: [x, {c: d}]}`},
		{"a:\n- 1\n- - 2\n  - 3\n-\n  b: 4\n  c:\n    - 5\n", `{a: [1, [2, 3], {b: 4, c: [5]}]}`},
		{"- a: 1\n  b: 2\n- c\n", `[{a: 1, b: 2}, c]`},
		{"a: # comment\n  b: 1 # more\n# last\nc: x\n", `{a: {b: 1}, c: x}`},
		{"a: 'it''s'\nb: \"q\\\"\\u0041\"\n", `{a: "it's", b: "q\"A"}`},
		{"a: |\n  two\n  lines\nb: 1\n", `{a: "two\nlines\n", b: 1}`},
		{"a: {b: 1,\n  c: 2}\nd: [1,\n 2,\n]\n", `{a: {b: 1, c: 2}, d: [1, 2]}`},
		{"\ufeffa: 1\r\nb: 2\r\n", `{a: 1, b: 2}`},
		{"---\na: 1\n...\n", `{a: 1}`},
		{"a:\nb: ~\nc: null\n", `{a: null, b: null, c: null}`},
		{"item_latency_seconds{policy=a}: [\"p99 < 60\"]\nhardware.gpus[0].memory: [8GB]\n", `{"item_latency_seconds{policy=a}": ["p99 < 60"], "hardware.gpus[0].memory": [8GB]}`},
	} {
		var errs Errors
		n := parseYAML("x", []byte(c.text), &errs)
		if !errs.none() {
			t.Errorf("%q: %v", c.text, &errs)
			continue
		}
		if got := flow(unquote(n)); got != flow(unquote(parseYAML("y", []byte(c.want), &errs))) {
			t.Errorf("%q is read as %s, want %s", c.text, got, c.want)
		}
	}
}

// unquote forgets which scalars were in quotes.
func unquote(n *node) *node {
	n.quoted = false
	for _, v := range n.values {
		unquote(v)
	}
	return n
}

func TestPaths(t *testing.T) {
	var errs Errors
	n := parseYAML("x", []byte("a: {b.c: [1, {d: 2}], b: 3}\n"), &errs)
	for path, want := range map[string]string{"a.b.c[1].d": "2", "a.b.c[0]": "1", "a.b": "3"} {
		at := n.locate(path)
		line := at.src.lines[at.line-1]
		if got := line[at.col-1 : at.col]; got != want {
			t.Errorf("%s leads to %q at column %d", path, got, at.col)
		}
	}
	for _, path := range []string{"", ".", "a.", "a..b", "[", "[x]", "[-1]", "a[0", "a[1]b"} {
		d := &decoder{errs: &Errors{}, tables: newTables()}
		if d.assign(n, path, place{newSource("--set", path), 1, 1}, scalar(place{}, "1")) {
			t.Errorf("%q is taken for a path", path)
		}
	}
	if !strings.Contains(errs.Error(), "") || !errs.none() {
		t.Error(&errs)
	}
}
