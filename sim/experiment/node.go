package experiment

import (
	"fmt"
	"slices"
	"strings"
)

// source is a text that nodes were read from.
type source struct {
	name  string // file name, or the flag
	lines []string
}

func newSource(name, text string) *source {
	return &source{name: name, lines: strings.Split(text, "\n")}
}

// place is where something stands. Lines and columns count from 1, columns in
// characters.
type place struct {
	src       *source
	line, col int
}

// kind tells nodes apart.
type nodeKind uint8

const (
	nullNode nodeKind = iota
	scalarNode
	mappingNode
	listNode
)

// node is a piece of YAML without anchors, tags and comments: what the
// experiment file and its sweeps, flags and profiles are made of.
type node struct {
	kind    nodeKind
	at      place
	text    string   // of a scalar
	quoted  bool     // a scalar that can only be text
	content string   // of a scalar that names a file: what identifies its content
	keys    []string // of a mapping, in order
	keyAt   []place
	values  []*node // of a mapping or a list
	index   map[string]int
}

func scalar(at place, text string) *node { return &node{kind: scalarNode, at: at, text: text} }
func list(at place, values ...*node) *node {
	return &node{kind: listNode, at: at, values: values}
}
func mapping(at place) *node { return &node{kind: mappingNode, at: at} }

// find returns the position of a key in a mapping, or -1.
func (n *node) find(key string) int {
	if len(n.keys) < 16 {
		return slices.Index(n.keys, key)
	}
	if n.index == nil {
		n.index = make(map[string]int, len(n.keys))
		for i, k := range n.keys {
			n.index[k] = i
		}
	}
	if i, ok := n.index[key]; ok {
		return i
	}
	return -1
}

// child returns the value of a key, or nil.
func (n *node) child(key string) *node {
	if n == nil || n.kind != mappingNode {
		return nil
	}
	if i := n.find(key); i >= 0 {
		return n.values[i]
	}
	return nil
}

// put sets the value of a key.
func (n *node) put(key string, at place, v *node) {
	if i := n.find(key); i >= 0 {
		n.values[i], n.keyAt[i] = v, at
		return
	}
	n.add(key, at, v)
}

// add appends a key without looking for it.
func (n *node) add(key string, at place, v *node) {
	n.keys = append(n.keys, key)
	n.keyAt = append(n.keyAt, at)
	n.values = append(n.values, v)
	if n.index != nil {
		n.index[key] = len(n.keys) - 1
	}
}

func (n *node) remove(key string) {
	if i := n.find(key); i >= 0 {
		n.keys = slices.Delete(n.keys, i, i+1)
		n.keyAt = slices.Delete(n.keyAt, i, i+1)
		n.values = slices.Delete(n.values, i, i+1)
		n.index = nil
	}
}

// clone copies a node with all below it.
func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.index = nil
	c.keys = slices.Clone(n.keys)
	c.keyAt = slices.Clone(n.keyAt)
	c.values = make([]*node, len(n.values))
	for i, v := range n.values {
		c.values[i] = v.clone()
	}
	return &c
}

// describe names a node's kind and, shortened, what it is, for messages.
func (n *node) describe() string {
	switch n.kind {
	case nullNode:
		return "empty"
	case mappingNode:
		return "a mapping"
	case listNode:
		return "a list"
	}
	return quote(n.text)
}

// quote shows a text of the user, shortened, with control characters escaped.
func quote(s string) string {
	const longest = 60
	if len(s) > longest {
		cut := longest
		for cut > 0 && s[cut]&0xc0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	return fmt.Sprintf("%q", s)
}
