package experiment

import (
	"fmt"
	"math"
	"strings"
)

// render writes a node as YAML that parseYAML reads back equal: mappings and
// lists of more than a line in block style, what fits a line in flow style.
// Comments and the style of the original are not kept.
func render(n *node) []byte {
	var b strings.Builder
	if n.kind == mappingNode && len(n.keys) > 0 {
		writeBlock(&b, n, 0)
	} else {
		b.WriteString(flow(n) + "\n")
	}
	return []byte(b.String())
}

const flowWidth = 110

func writeBlock(b *strings.Builder, n *node, indent int) {
	pad := strings.Repeat("  ", indent)
	for i, v := range n.values {
		head := "-"
		if n.kind == mappingNode {
			head = text(n.keys[i], false) + ":"
		}
		if blank(v) {
			b.WriteString(pad + head + " " + flow(v) + "\n")
			continue
		}
		if indent > 0 {
			if one, ok := short(v, flowWidth-len(pad)-len(head)); ok {
				b.WriteString(pad + head + " " + one + "\n")
				continue
			}
		}
		b.WriteString(pad + head + "\n")
		writeBlock(b, v, indent+1)
	}
}

// blank reports whether n has no block style.
func blank(n *node) bool {
	return n.kind == nullNode || n.kind == scalarNode || len(n.values) == 0
}

// flow writes a node on one line.
func flow(n *node) string {
	var b strings.Builder
	writeFlow(&b, n, math.MaxInt)
	return b.String()
}

// short writes a node on one line if that has fewer than width bytes.
func short(n *node, width int) (string, bool) {
	var b strings.Builder
	writeFlow(&b, n, width)
	return b.String(), b.Len() < width
}

// writeFlow stops when it has written width bytes or more.
func writeFlow(b *strings.Builder, n *node, width int) {
	if b.Len() >= width {
		return
	}
	switch n.kind {
	case nullNode:
		b.WriteString("null")
	case scalarNode:
		b.WriteString(text(n.text, n.quoted))
	case listNode:
		b.WriteByte('[')
		for i, v := range n.values {
			if i > 0 {
				b.WriteString(", ")
			}
			writeFlow(b, v, width)
		}
		b.WriteByte(']')
	case mappingNode:
		b.WriteByte('{')
		for i, v := range n.values {
			if b.Len() >= width {
				return
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(text(n.keys[i], false) + ": ")
			writeFlow(b, v, width)
		}
		b.WriteByte('}')
	}
}

// text writes a scalar, in double quotes where a plain one would be read as
// something else.
func text(s string, quoted bool) string {
	if !quoted && plain(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// plain reports whether s may stand without quotes wherever a scalar may:
// letters, digits and what needs no thought.
func plain(s string) bool {
	if s == "" || strings.ContainsRune("-./ +", rune(s[0])) && !number(s) {
		return false
	}
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./+", r)) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n", "~":
		return s == "true" || s == "false"
	}
	return true
}
